"""Tiny checkpoints for every test: random weights, a real byte-level BPE, seeded."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Threads of tiny models only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Each of a thousand processes would compile the same files for itself.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A full amount may take longer than a test that hangs.
if os.environ.get("BIGCODE_FULL_TESTS"):
    os.environ.setdefault("PYTEST_TIMEOUT", "0")

# A script that starts the tests in the background ignores these, and children inherit that.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        _usual = signal.default_int_handler if _number is signal.SIGINT else signal.SIG_DFL
        signal.signal(_number, _usual)

SPECIAL_TOKENS = (
    *("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<filename>"),
    *("<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>"),
    *("<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<empty_output>"),
    *("<commit_before>", "<commit_msg>", "<commit_after>", "<reponame>"),
)
SANTACODER_TOKENS = ("<|endoftext|>", "<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<fim-pad>")
SAMPLE = """\
def area(width, height):
    \"\"\"Return the area of a rectangle.\"\"\"
    if width < 0 or height < 0:
        raise ValueError("negative size: %d x %d" % (width, height))
    return width * height


class Shape:
    def __init__(self, sides):
        self.sides = [side for side in sides if side is not None]

    def perimeter(self):
        return sum(self.sides)


for number in range(2024):
    print(number, "größer", "日本語", "😀", sep=", ")
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the slow tests, file by file, to the beginnings of the workers' shares.

    `--dist worksteal` gives each worker an equal run of this list. Where slow tests end a run, the
    other workers have nothing left to do meanwhile.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers == 1:
        return
    files: dict[Path, list[pytest.Item]] = {}
    rest: list[pytest.Item] = []
    for item in items:
        group = files.setdefault(item.path, []) if item.get_closest_marker("slow") else rest
        group.append(item)
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for group in sorted(files.values(), key=_weight, reverse=True):
        min(shares, key=len).extend(group)
    size = -(-len(items) // workers)
    dealt: list[pytest.Item] = []
    for share in shares:
        missing = size - len(share)
        dealt += share + rest[:missing]
        del rest[:missing]
    items[:] = dealt + rest


def _weight(group: list[pytest.Item]) -> tuple[bool, int]:
    """How early a file's slow tests begin: first those that may take longer than others may."""
    return group[0].get_closest_marker("timeout") is not None, len(group)


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """`umask(0o022)` sets the umask of this test; the next one gets back what it was before."""
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


def train_tokenizer(
    special_tokens: tuple[str, ...], path: Path, *, size: int = 400, specials_last: bool = False
) -> None:
    """A byte-level BPE with StarCoder's pre-tokenizer, all 256 bytes and the given specials."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[] if specials_last else list(special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([SAMPLE] * 4, trainer)
    if specials_last:
        tokenizer.add_special_tokens(list(special_tokens))
    tokenizer.save(str(path))


def save_random_model(folder: Path, **fields: object) -> None:
    """Two layers whose weights are large enough that the greedy text does not stand still."""
    import torch

    from gpt_bigcode.checkpoint.loading import save_model
    from gpt_bigcode.config import GPTBigCodeConfig
    from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM

    shape = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
    config = GPTBigCodeConfig.from_dict({**shape, "initializer_range": 0.4, **fields})
    with torch.random.fork_rng():
        torch.manual_seed(20230509)
        model = GPTBigCodeForCausalLM(config)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.1)
    save_model(model, folder)


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`make_checkpoint("name", special_tokens, n_positions=64)`: a random checkpoint's folder."""

    def make(
        name: str,
        special_tokens: tuple[str, ...] = SPECIAL_TOKENS,
        *,
        specials_last: bool = False,
        **fields: object,
    ) -> Path:
        folder = tmp_path_factory.mktemp("checkpoints") / name
        folder.mkdir()
        path = folder / "tokenizer.json"
        train_tokenizer(special_tokens, path, specials_last=specials_last)
        values = json.loads(path.read_text("utf-8"))
        ids = [*values["model"]["vocab"].values()]
        ids += [entry["id"] for entry in values["added_tokens"]]
        end = next(
            entry["id"] for entry in values["added_tokens"] if entry["content"] == "<|endoftext|>"
        )
        defaults = {"vocab_size": max(ids) + 1, "bos_token_id": end, "eos_token_id": end}
        save_random_model(folder, **{**defaults, **fields})
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    """StarCoder's special tokens as ids 0 to 18, multi-query, 128 positions."""
    return make_checkpoint("tiny")


@pytest.fixture(scope="session")
def tiny_santacoder_checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    """SantaCoder's spelling with hyphens, its special tokens last, rows of padding in the table."""
    return make_checkpoint("tiny-santacoder", SANTACODER_TOKENS, specials_last=True, vocab_size=448)


@pytest.fixture(scope="session")
def tiny_plain_checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    """No sentinels for infilling and no tokens for file names; multi-head."""
    return make_checkpoint("tiny-plain", ("<|endoftext|>",), multi_query=False)
