"""Random command lines: whatever the words are, the program answers, and has no bug to tell of.

BIGCODE_FUZZ_SECONDS is how long each command is tried; without it, a few seeded cases are.
"""

import random
import re
from pathlib import Path

import pytest

from fuzzing import seeds
from program import Run

pytestmark = pytest.mark.slow

CASES = 6
LONGEST_LINE = 2000
COMMANDS = (
    *("complete", "infill", "score", "classify", "tag", "ps", "stop", "cache list", "cache clear"),
    *("models list", "models show", "models verify", "models remove", "models prune"),
    *("models path", "models default", "models convert", "models pull", "serve", "lsp"),
)
NEVER = frozenset(
    {
        # What starts a server, downloads, or takes minutes.
        *("--background", "--host", "--port", "--shape", "--exit-when-idle", "--repeat"),
        *("--device", "--threads", "--precision"),
    }
)
VALUES = (
    *("", " ", "0", "-0", "1", "-1", "00001", "1e3", "1_000", "0x10", "+5", "\u0663", "\uff15"),
    *("1.5", "nan", "inf", "-inf", "1e-999", "1e999", "9" * 20, "-" + "9" * 400, "9" * 5000),
    *("1:1", "0:0", "1:99999999999", "END", "END:1", "1:-1", ":", "a", "-", "--", "-x", "--help=1"),
    # Nothing outside the folder of the test: some of the commands change files.
    *("a.py", "./m", "nowhere", "d", "d/..", "/dev/null", "/dev/zero", "p" * 300, "x" * 5000),
    *("[z-a]", "(", "(?P<a", "*" * 50, "\\", "\n", "\r\n", "\t", "\x1b[31m", "\x7f", "\xe9"),
    *("\u202e", "\u2028", "\ufeff", "\U0001f600", "\ud800", "KEY", "KEY=2", "KEY=nan", "=", ",,"),
    *("json", "JSON", "jsonl,text", "text", "line", "psm", "auto", "off", "unix:", "unix:nowhere"),
    *("http://", "http://[::1", "ftp://x", "http://127.0.0.1:1", "a/b", "a/b@c", "a/b@../..", "@"),
    *("$HOME", "%s", "{}", "pocket-coder", "pocket-secrets", "8G", "-1m", "1h"),
)
BYTES = (b"\xff", b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80", b"\xc3", b"--stop=\xff")


def _words(command: str, flags: list[str], draw: random.Random) -> list[str | bytes]:
    words: list[str | bytes] = [*command.split()]
    for _ in range(draw.choice((0, 1, 1, 2, 3, 6))):
        flag, value = draw.choice(flags), draw.choice(VALUES)
        words += [f"{flag}={value}"] if draw.random() < 0.3 else [flag, value]
        if draw.random() < 0.3:
            words.pop()
    for _ in range(draw.choice((0, 1, 1, 2, 5))):
        word = draw.choice((*BYTES, *VALUES)) if draw.random() < 0.7 else "a.py"
        words.insert(draw.randint(len(command.split()), len(words)), word)
    return words


@pytest.mark.parametrize("command", COMMANDS)
def test_words(command: str, run: Run, tiny_checkpoint: Path) -> None:
    run.write("a.py", "x = 1\n")
    run.write("d/b.py", "key = 1\n")
    (run.folder / "m").symlink_to(tiny_checkpoint)
    shown = run(*command.split(), "--help").stdout.decode()
    flags = sorted({*re.findall(r"--[a-z][a-z-]+", shown)} - NEVER)
    limits = {"BIGCODE_MAX_TOKENS": "1", "HF_ENDPOINT": "http://127.0.0.1:1"}
    for number in seeds(CASES):
        words = _words(command, flags, random.Random(f"{command} {number}"))
        if command == "serve":  # one that is refused, whatever else it is told
            words += ["--port", "65536"]
        encoded = [w.encode("utf-8", "surrogatepass") if isinstance(w, str) else w for w in words]
        done = run(*encoded, env=limits, input=b"x = 1\n")
        said = (number, words, done.status, done.stderr[:300])
        assert done.status in (0, 1, 2, 3), said
        assert "internal" not in done.stderr, said
        assert max(map(len, done.stderr.splitlines()), default=0) < LONGEST_LINE, said
        if done.status in (2, 3):
            assert "bigcode: error[" in done.stderr, said
        assert (run.folder / "a.py").read_bytes()
