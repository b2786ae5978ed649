"""`bench`: a card, a line of JSON, refusals before anything is written, and nothing left behind."""

import json
import shutil
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bigcode_cli.commands.bench.options import BenchOptions, Shape
from bigcode_cli.commands.bench.run import Bench, random_checkpoint
from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.options import ModelOptions
from bigcode_cli.framework.output import shown_bytes
from gpt_bigcode import hardware
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.benchmarking import measure
from gpt_bigcode.benchmarking import random_weights as library
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.hardware import Precision
from program import Run

QUICK = ("bench", "--device=cpu", "--precision=float32", "--context=40")
# Half a gigabyte is read otherwise, several times.
LITTLE = "import gpt_bigcode.benchmarking.measure as measure; measure._READ_BYTES = 1 << 24"


def test_one_line_of_json(run: Run, checkpoint: Path) -> None:
    call = (*QUICK, "--repeat=2", "--format=json", "-m", checkpoint)
    done = run(*call, statements=LITTLE)
    assert (done.status, done.stderr, done.stdout.count(b"\n")) == (0, "", 1)
    document = done.json
    assert document["model"] == str(checkpoint)
    assert (document["context"], document["repeat"], document["threads"]) == (40, 2, 1)
    assert document["bandwidth_bytes_per_second"] > 1e8
    assert document["auto"]["engine"] == "numpy"
    (row,) = document["precisions"]
    assert (row["precision"], row["engine"]) == ("float32", "numpy")
    for name in ("prefill_tokens_per_second", "decode_tokens_per_second", "first_token_seconds"):
        assert 0 < row[name]["lowest"] <= row[name]["median"] <= row[name]["highest"]
    first, read = row["first_token_seconds"], row["prefill_tokens_per_second"]
    assert first["highest"] == pytest.approx(40 / read["lowest"])
    assert row["memory_bytes"] >= 0
    parameters = (
        275 * 64 + 8192 * 64 + 3 * 64 * 64 + 64 * 64 + 64 * 64 + 64 + 64 * 2 + 64 * 3 + 6 * 64
    )
    assert abs(document["parameters"] - parameters) < 0.05 * parameters


def test_where_and_how_it_runs(run: Run, checkpoint: Path) -> None:
    words = ("bench", "--device=cpu", "--precision=bfloat16", "--context=8", "--repeat=1")
    more = ("--threads=1", "--offline", "--verbose", "--format=json")
    done = run(*words, *more, "-m", checkpoint, statements=LITTLE)
    assert done.status == 0
    assert [row["precision"] for row in done.json["precisions"]] == ["bfloat16"]
    assert done.json["threads"] == 1
    assert run(*words, "--quiet", "-m", checkpoint, statements=LITTLE).stderr == ""


def test_a_card(run: Run, checkpoint: Path) -> None:
    done = run(*QUICK, "--repeat=1", "-m", checkpoint, statements=LITTLE)
    assert (done.status, done.stderr) == (0, "")
    lines = done.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines if line] == [
        *("model", "device", "memory", "prompt", "auto", "precision", "float32"),
    ]
    assert "40 tokens, 1 run" in done.stdout.decode()
    assert lines[-1].startswith("float32 (auto)  ")
    assert lines[-1].endswith("%")


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_a_prompt_that_does_not_fit_is_a_usage_error(
    run: Run, checkpoint: Path, precision: str
) -> None:
    how = ("--device=cpu", f"--precision={precision}", "--context=8191")
    done = run("bench", *how, "-m", checkpoint)
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr.startswith("bigcode: error[context]: ")


def test_random_weights_are_not_written_for_a_prompt_that_does_not_fit(run: Run) -> None:
    done = run("bench", "--shape=starcoder", "--context=8191")
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr == "bigcode: error[context]: 8191 tokens leave no room in 8192\n"


def test_a_shape_is_no_model(run: Run, checkpoint: Path) -> None:
    done = run("bench", "--shape=santacoder", "-m", checkpoint)
    assert (done.status, done.stdout) == (2, b"")
    assert "--shape" in done.stderr


@pytest.fixture
def tiny_family(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The smallest size has two layers, and temporary folders lie in an empty one."""
    fields = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 300, "n_positions": 64}
    monkeypatch.setattr(library, "FAMILY", {"tiny_starcoder_py": fields})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_random_weights_are_a_checkpoint_and_are_removed(tiny_family: Path) -> None:
    with random_checkpoint(Shape.TINY_STARCODER_PY, ["float32"]) as (folder, config):
        assert folder.parent == tiny_family
        assert GPTBigCodeConfig.from_json_file(folder / "config.json") == config
        rates = measure.measure_decoder(NumpyDecoder.load(folder), context=20, repeat=1)
        assert rates.decode_tokens_per_second.median > 0
    assert list(tiny_family.iterdir()) == []
    with (
        pytest.raises(KeyboardInterrupt),
        random_checkpoint(Shape.TINY_STARCODER_PY, ["float32"]),
    ):
        raise KeyboardInterrupt
    assert list(tiny_family.iterdir()) == []


def test_what_does_not_fit_is_refused_before_anything_is_written(
    tiny_family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = int(
        GPTBigCodeConfig.from_dict(dict(library.FAMILY["tiny_starcoder_py"])).parameter_count()
        * 4
        * 1.15
    )
    monkeypatch.setattr(hardware, "available_memory_bytes", lambda: needed - 1)
    with (
        pytest.raises(Failure, match="tiny_starcoder_py: float32 needs"),
        random_checkpoint(Shape.TINY_STARCODER_PY, ["float32"]),
    ):
        pass
    assert list(tiny_family.iterdir()) == []
    with random_checkpoint(Shape.TINY_STARCODER_PY, ["float32", "bfloat16"]):
        pass  # one of them fits


def test_a_full_disk_is_told_with_what_would_be_enough(
    tiny_family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = library.checkpoint_bytes(library.family_config("tiny_starcoder_py"))
    enough = size + size // 8
    for free, fits in ((enough - 1, False), (enough, True)):
        monkeypatch.setattr(
            shutil, "disk_usage", lambda _place, free=free: SimpleNamespace(free=free)
        )
        told = f"needs {shown_bytes(enough)} in {tiny_family}"
        refusal: AbstractContextManager[object] = pytest.raises(Failure, match=told)
        if fits:
            refusal = nullcontext()
        with refusal, random_checkpoint(Shape.TINY_STARCODER_PY, ["float32"]):
            pass
    assert list(tiny_family.iterdir()) == []


def test_float16_without_hardware_is_measured_only_if_asked_for(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx2"}))
    bench = Bench(
        directory=checkpoint,
        config=GPTBigCodeConfig.from_json_file(checkpoint / "config.json"),
        options=BenchOptions(prompt_tokens=4, repeat=1),
        model=ModelOptions(device="cpu"),
    )
    left_out = bench.measure("float16", None)
    assert bench.refusal("float16") == left_out.unavailable
    assert bench.refusal("float32") is None
    assert left_out.rates is None
    assert "--precision float16" in str(left_out.unavailable)
    asked = replace(bench, model=ModelOptions(device="cpu", precision=Precision.FLOAT16))
    assert asked.measure("float16", None).rates is not None


def test_the_family_has_the_published_sizes() -> None:
    billions = {
        name: library.family_config(name).parameter_count() / 1e9 for name in library.FAMILY
    }
    assert {name: round(count, 2) for name, count in billions.items()} == {
        "tiny_starcoder_py": 0.16,
        "santacoder": 1.12,
        "starcoderbase-3b": 3.04,
        "starcoder": 15.52,
    }
    assert set(library.FAMILY) == set(Shape)
    assert json.dumps(library.family_config("santacoder").to_dict())
