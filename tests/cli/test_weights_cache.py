"""--precision through the real program: quantized weights, what -v says, and the cache of them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from program import Run
from scripted_models import encode, write_checkpoint

TEXT = "x = 1\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("precision") / "model"
    return write_checkpoint(folder, script=encode(TEXT), at=1)


@pytest.fixture
def complete(run: Run, model: Path, tmp_path: Path) -> Callable[..., tuple[bytes, Sequence[str]]]:
    def call(*options: str, status: int = 0) -> tuple[bytes, Sequence[str]]:
        cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = run("complete", "--threads=1", "-m", model, *options, env=cache)
        assert done.status == status
        return done.stdout, done.stderr.splitlines()

    return call


def test_quantized_weights_are_kept_and_found_again(
    complete: Callable[..., tuple[bytes, Sequence[str]]], tmp_path: Path
) -> None:
    folder = tmp_path / "cache" / "bigcode" / "weights"
    wanted = complete("--precision=float32")[0]
    assert not folder.exists()
    first, lines = complete("--precision=int8", "-v")
    assert first == wanted
    assert "bigcode: note: int8 on cpu: as asked" in lines
    (path,) = folder.glob("*.safetensors")
    assert f"bigcode: note: quantized weights are kept in {path}" in lines
    again, lines = complete("--precision=int8", "-v")
    assert again == wanted
    assert f"bigcode: note: quantized weights from {path}" in lines


def test_the_cache_can_be_switched_off(
    complete: Callable[..., tuple[bytes, Sequence[str]]], tmp_path: Path
) -> None:
    text, lines = complete("--precision=int4", "--no-weights-cache", "-v")
    assert text == complete("--precision=float32")[0]
    assert not any("quantized weights" in line for line in lines)
    assert not (tmp_path / "cache" / "bigcode" / "weights").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("score", "--no-cache", "a.py"),
        ("infill", "--offset=0", "--max-tokens=2", "a.py"),
    ],
    ids=lambda words: words[0],
)
def test_every_job_that_computes_can_keep_quantized_weights(
    run: Run, model: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (run.folder / "a.py").write_text(TEXT, "utf-8")
    folder = tmp_path / "cache" / "bigcode" / "weights"
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    options = ("--precision=int8", "--threads=1", "--offline", "-v", "-m", model)
    done = run(*words, *options, "--no-weights-cache", env=env)
    assert (done.status, folder.exists()) == (0, False)
    assert "int8" in done.stderr + done.stdout.decode()
    assert run(*words, *options, env=env).status == 0
    assert len(list(folder.glob("*.safetensors"))) == 1


def test_a_small_checkpoint_is_computed_without_pytorch(
    complete: Callable[..., tuple[bytes, Sequence[str]]],
) -> None:
    lines = complete("-v")[1]
    assert any(line.startswith("bigcode: note: float32 in NumPy: ") for line in lines)
