"""No file that somebody else wrote makes the program say that it has a bug, or say it at length.

BIGCODE_FUZZ_SECONDS is how long each kind of file is tried; without it, a few seeded cases are.
"""

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from program import Run
from scripted_taggers import write_tagger

pytestmark = pytest.mark.slow

CASES = 4
LONGEST_LINE = 2000
SECRET = b"x = 'ABCD'\n"
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 0.5, -0.0, 1e308, 5e-324),
    *("", "x", "x" * 5000, "\0", "\x1b[31m", "é😀", "../../etc/passwd", "/dev/zero", "NaN", "-"),
    *([], {}, [[]], [None] * 3, {"": None}, [1, "a", {}], {"x": {"y": [0]}}),
)
# What JSON's own writer would not write.
RAW = (
    *(b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"1" + b"0" * 400, b"[" * 3000, b'{"a":' * 200),
    *(rb'"\ud800"', rb'"\udcff"', rb'"\u0000"', b"'x'", b"0x10", b"01", b"\xff", b"", b",", b"}"),
)
WORDS = (
    *(
        b"*",
        b"**",
        b"?",
        b"[",
        b"]",
        b"[z-a]",
        b"[!",
        b"[[:alpha:]",
        b"\\",
        b"!",
        b"#",
        b"/",
        b"\r",
    ),
    *(b"\n", b" ", b"\0", b"\xff", b"\xef\xbb\xbf", b"a", b".py", b"a*" * 50),
    *(b"\xe2\x80\xa8", b"0x" + b"f" * 99),
    *(b"=", b'"', b"'''", b'"""', b"{", b"}", b",", b"1979-05-27T07:32:00Z", b"nan", b"[[a]]"),
    *(
        b"max-tokens",
        b"model",
        b"threads = ",
        b"a." * 500 + b"a = 1\n",
        b"9" * 5000,
        b"0x" + b"f" * 99,
    ),
)


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: the file, relative to the folder of the test.
        seed: what it holds before it is changed.
        command: reads it.
    """

    name: str
    seed: bytes
    commands: tuple[tuple[str, ...], ...]

    @property
    def is_json(self) -> bool:
        """Whether parts of it can be replaced by other values."""
        return self.name.endswith(".json")


SCORE, TAG = ("score", "-m", "./m", "a.py"), ("tag", "-m", "./t", "a.py")
VERIFY, SHOW = ("models", "verify", "./m"), ("models", "show", "./m")
TAG_BASELINE = (
    b'{"version":1,"salt":"s","findings":[{"path":"a.py","label":"KEY","fingerprint":"0"}]}'
)
SCORE_BASELINE = (
    b'{"files":[{"path":"a.py","status":"ok","bits_per_byte":1.5}],"summary":{"model":"./m"}}'
)
RECORD = (
    b'{"format":1,"source":{"repository":"a/b","commit":"0","cache":"/c"},'
    b'"files":{"config.json":"00","model.safetensors":"00"}}'
)
TOML = b'model = "pocket-coder"\nmax-tokens = 5\nstop = ["a", "b"]\nmodel-folders = ["/x"]\n'
INDEX = b'{"metadata":{"total_size":1},"weight_map":{"transformer.wte.weight":"model.safetensors"}}'
KINDS = (
    Kind("m/config.json", b"", (SCORE, SHOW, VERIFY)),
    Kind("m/generation_config.json", b'{"eos_token_id":[0,3]}', (SCORE, SHOW)),
    Kind("m/tokenizer.json", b"", (SCORE, SHOW, VERIFY)),
    Kind("m/model.safetensors", b"", (SCORE, SHOW, VERIFY)),
    Kind("m/model.safetensors.index.json", INDEX, (SCORE, SHOW, VERIFY)),
    Kind("m/conversion.json", RECORD, (VERIFY, SHOW, SCORE)),
    Kind("p/pytorch_model.bin.index.json", INDEX, (("models", "convert", "./p", "./o"),)),
    Kind("base.json", TAG_BASELINE, ((*TAG, "--baseline", "base.json"),)),
    Kind("base.json", TAG_BASELINE, ((*TAG, "--baseline", "base.json", "--update-baseline"),)),
    Kind("base.json", SCORE_BASELINE, ((*SCORE, "--baseline", "base.json"),)),
    Kind("d/.gitignore", b"*.log\n!a.log\nbuild/\n", (("tag", "-m", "./t", "d"),)),
    Kind("home/.config/bigcode/config.toml", TOML, (SCORE, ("models", "default"))),
    Kind(
        "home/.cache/huggingface/hub/models--a--b/refs/main",
        b"0" * 40,
        (("models", "list"), ("complete", "-m", "a/b", "a.py")),
    ),
)
# What earlier runs found, or attacks: kind -> contents.
FOUND: dict[str, tuple[bytes, ...]] = {
    "d/.gitignore": (b"[z-a]", b"[[:alpha:]-z]", b"*a" * 13 + b"b", b"\\", b"!", b"[9-0]*\n" * 99),
    "home/.config/bigcode/config.toml": (
        *(b"model = " + b"[" * 3000, b"a." * 3000 + b"a = 1", b"max-tokens = " + b"9" * 5000),
        *(b"max-tokens = 0x" + b"f" * 9000, b'max-tokens = "' + b"x" * 9000 + b'"', b"x" * 9000),
    ),
}


@pytest.fixture(scope="module")
def models(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(tiny_checkpoint, folder / "m")
    write_tagger(folder / "t")
    shutil.copytree(tiny_checkpoint, folder / "p")
    (folder / "p" / "model.safetensors").unlink()
    return folder


def _json_nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document: its container, and its key or number."""
    waiting = [value]
    while waiting:
        container = waiting.pop()
        keys = container if isinstance(container, dict) else range(len(container))
        for key in list(keys)[:40]:
            yield container, key
            if isinstance(container[key], (dict, list)):
                waiting.append(container[key])


def _changed_json(data: bytes, draw: random.Random) -> bytes:
    document = json.loads(data)
    for _ in range(draw.randint(1, 3)):
        nodes = list(_json_nodes(document))
        if not nodes:
            break
        container, key = draw.choice(nodes)
        if draw.random() < 0.15:
            del container[key]
        elif draw.random() < 0.3:
            container[key] = "@@RAW@@"
        else:
            container[key] = deepcopy(draw.choice(VALUES))
    return json.dumps(document).encode().replace(b'"@@RAW@@"', draw.choice(RAW), 1)


def _changed_bytes(data: bytes, draw: random.Random) -> bytes:
    for _ in range(draw.randint(1, 4)):
        # Where a file is long, its beginning is what is parsed.
        place = draw.randrange(min(len(data), draw.choice((40, 400, 1 << 30))) + 1)
        size = draw.choice((0, 1, 1, 8, 400))
        data = data[:place] + draw.choice((*WORDS, *RAW)) + data[place + size :]
        if draw.random() < 0.1:
            data = data[:place]
    return data


def _contents(kind: Kind, seed: bytes) -> Iterator[bytes]:
    """Contents to try, endlessly; the same in every run."""
    yield from FOUND.get(kind.name, ())
    for number in range(1 << 60):
        draw = random.Random(f"{kind.name} {number}")
        by_parts = kind.is_json and draw.random() < 0.7
        yield (_changed_json if by_parts else _changed_bytes)(seed, draw)


def _enough(kind: Kind) -> Callable[[int], bool]:
    seconds = float(os.environ.get("BIGCODE_FUZZ_SECONDS", "0"))
    end = time.monotonic() + seconds
    if seconds:
        return lambda _: time.monotonic() > end
    return lambda count: count >= CASES + len(FOUND.get(kind.name, ()))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.name} {kind.commands[0][0]}")
def test_no_file_is_a_bug_of_ours(kind: Kind, models: Path, run: Run) -> None:
    for name in ("m", "t", "p"):
        shutil.copytree(models / name, run.folder / name)
    (run.folder / "a.py").write_bytes(SECRET)
    (run.folder / "d").mkdir()
    for name in ("a.py", "a.log", "a" * 200):
        (run.folder / "d" / name).write_bytes(SECRET)
    home = Path(run.environment["HOME"])
    path = (
        home / kind.name.removeprefix("home/") if "home/" in kind.name else run.folder / kind.name
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = kind.seed or path.read_bytes()
    is_enough = _enough(kind)
    for count, content in enumerate(_contents(kind, seed)):
        if is_enough(count):
            break
        path.write_bytes(content)
        for command in kind.commands:
            done = run(*command)
            said = (count, command, content[:300], done.stderr[:300])
            assert done.status in (0, 1, 2, 3), said
            assert "internal" not in done.stderr, said
            assert max(map(len, done.stderr.splitlines()), default=0) < LONGEST_LINE, said
