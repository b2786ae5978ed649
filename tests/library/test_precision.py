"""What `auto` chooses: by processor, job and memory; and what replaces what is not there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpt_bigcode import hardware
from gpt_bigcode.backends import torch_loading as loading
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.torch_decoder import TorchDecoder
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import DeviceError
from gpt_bigcode.hardware import Job, LoadingPolicy, Precision, Processor, choose_for_processor
from gpt_bigcode.loading import open_decoder
from gpt_bigcode.quantization.linear import Int8Linear

P = Precision
PLAIN = Processor(flags=frozenset({"avx2"}), int8=True, int4=True)
NATIVE = replace(PLAIN, flags=frozenset({"avx512_bf16", "avx512_vnni"}))
BARE = replace(PLAIN, int8=False, int4=False)


@pytest.mark.parametrize(
    ("processor", "job", "wanted"),
    [
        (PLAIN, Job.GENERATION, P.INT8),
        (PLAIN, Job.SCORING, P.INT8),
        (NATIVE, Job.GENERATION, P.INT8),
        (NATIVE, Job.SCORING, P.BFLOAT16),
        (BARE, Job.GENERATION, P.FLOAT32),
        (BARE, Job.SCORING, P.FLOAT32),
        (replace(NATIVE, int8=False), Job.GENERATION, P.BFLOAT16),
        (replace(NATIVE, flags=frozenset({"amx_bf16"})), Job.SCORING, P.BFLOAT16),
        (replace(NATIVE, flags=frozenset({"bf16"}), int8=False), Job.GENERATION, P.BFLOAT16),
        (replace(PLAIN, flags=frozenset()), Job.GENERATION, P.INT8),
    ],
)
def test_auto_follows_processor_and_job(processor: Processor, job: Job, wanted: P) -> None:
    assert choose_for_processor(P.AUTO, processor, 10**9, job).precision is wanted


@pytest.mark.parametrize(
    ("gigabytes", "wanted"), [(64, P.INT8), (18, P.INT8), (12, P.INT4), (4, P.INT8)]
)
def test_auto_follows_the_memory(gigabytes: int, wanted: P) -> None:
    processor = replace(PLAIN, free_bytes=gigabytes * 10**9)
    choice = choose_for_processor(P.AUTO, processor, 155 * 10**8, Job.GENERATION)
    assert choice.precision is wanted
    assert ("do not fit" in choice.reason) == (gigabytes == 12)


def test_scoring_leaves_bfloat16_for_int8_where_it_must() -> None:
    processor = replace(NATIVE, free_bytes=3 * 10**9)
    assert choose_for_processor(P.AUTO, processor, 2 * 10**9, Job.SCORING).precision is P.INT8


@pytest.mark.parametrize("asked", [P.FLOAT32, P.BFLOAT16, P.FLOAT16, P.INT8, P.INT4])
def test_what_is_asked_for_is_taken(asked: P) -> None:
    tight = replace(PLAIN, free_bytes=1000)
    assert choose_for_processor(asked, tight, 10**9, Job.SCORING).precision is asked


@pytest.mark.parametrize(
    ("asked", "processor", "wanted"),
    [
        (P.INT4, replace(PLAIN, int4=False), P.INT8),
        (P.INT4, BARE, P.FLOAT32),
        (P.INT8, BARE, P.FLOAT32),
        (P.INT8, replace(NATIVE, int8=False), P.BFLOAT16),
        (P.INT4, replace(NATIVE, int8=False, int4=False), P.BFLOAT16),
    ],
)
def test_without_operators_the_next_precision(asked: P, processor: Processor, wanted: P) -> None:
    choice = choose_for_processor(asked, processor, 10**9, Job.GENERATION)
    assert choice.precision is wanted
    assert choice.reason == f"there are no operators for {asked} here"


CGROUPS_2 = 2


def test_free_memory_is_that_of_machine_and_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info = tmp_path / "meminfo"
    monkeypatch.setattr(hardware, "_MEMORY_INFO", info)
    monkeypatch.setattr(hardware, "_CGROUPS", tmp_path)
    monkeypatch.setattr(hardware, "_OWN_GROUPS", tmp_path / "own")
    assert hardware.available_memory_bytes() is None
    info.write_text("MemTotal:  9000 kB\nMemAvailable:    8000 kB\n", "ascii")
    assert hardware.available_memory_bytes() == 8000 * 1024
    (tmp_path / "own").write_text("0::/\n", "ascii")
    (tmp_path / "memory.max").write_text("max\n", "ascii")
    (tmp_path / "memory.current").write_text("1000\n", "ascii")
    assert hardware.available_memory_bytes() == 8000 * 1024
    (tmp_path / "memory.max").write_text("5000\n", "ascii")
    assert hardware.available_memory_bytes() == 4000
    (tmp_path / "memory.current").write_text("6000\n", "ascii")
    assert hardware.available_memory_bytes() == 0


@pytest.mark.parametrize("limited", ["outer", "outer/inner"])
@pytest.mark.parametrize("version", [1, 2])
def test_free_memory_is_that_of_nested_groups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limited: str, version: int
) -> None:
    monkeypatch.setattr(hardware, "_MEMORY_INFO", tmp_path / "no-meminfo")
    monkeypatch.setattr(hardware, "_CGROUPS", tmp_path)
    monkeypatch.setattr(hardware, "_OWN_GROUPS", tmp_path / "own")
    line = "0::/outer/inner" if version == CGROUPS_2 else "5:cpu,memory:/outer/inner"
    (tmp_path / "own").write_text(line + "\n", "ascii")
    folder = (tmp_path if version == CGROUPS_2 else tmp_path / "memory") / limited
    folder.mkdir(parents=True)
    names = ("memory.max", "memory.current")
    if version != CGROUPS_2:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for name, value in zip(names, (5000, 1500), strict=True):
        (folder / name).write_text(f"{value}\n", "ascii")
    assert hardware.available_memory_bytes() == 3500


def opened(folder: Path, name: str, policy: LoadingPolicy) -> Any:
    config = GPTBigCodeConfig.from_json_file(folder / "config.json")
    decoder = open_decoder(folder, config, device="cpu", precision=Precision(name), policy=policy)
    assert isinstance(decoder, TorchDecoder)
    model: Any = decoder.model
    return model.transformer.h[0].mlp.c_proj


def test_the_decoder_computes_in_what_was_chosen_and_says_why(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    policy = LoadingPolicy(detail=said.append, note=said.append)
    assert isinstance(opened(tiny_checkpoint, "int8", policy), Int8Linear)
    assert said == ["int8 on cpu: as asked"]
    said.clear()
    monkeypatch.setattr(loading, "has_int4", lambda: False)
    assert isinstance(opened(tiny_checkpoint, "int4", policy), Int8Linear)
    assert said == [
        "precision int4: there are no operators for int4 here; using int8",
        "int8 on cpu: there are no operators for int4 here",
    ]
    said.clear()
    monkeypatch.setattr(loading, "has_int8", lambda: False)
    assert opened(tiny_checkpoint, "int8", policy).weight.dtype.is_floating_point
    assert said[0].startswith("precision int8: there are no operators for int8 here; using ")


def test_auto_on_a_checkpoint_that_is_not_small(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = GPTBigCodeConfig.from_json_file(tiny_checkpoint / "config.json")
    assert isinstance(open_decoder(tiny_checkpoint, config), NumpyDecoder)
    monkeypatch.setattr("gpt_bigcode.loading.MAX_INSTANT_BYTES", 0)
    monkeypatch.setattr(loading, "cpu_flags", lambda: frozenset({"avx2"}))
    monkeypatch.setattr(loading, "available_memory_bytes", lambda: 1 << 60)
    assert isinstance(opened(tiny_checkpoint, "auto", LoadingPolicy()), Int8Linear)


def test_int8_needs_the_processor(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(loading, "choose_device", lambda _name: torch.device("cuda"))
    config = GPTBigCodeConfig.from_json_file(tiny_checkpoint / "config.json")
    for name in ("int8", "int4"):
        with pytest.raises(DeviceError, match="processor only") as caught:
            open_decoder(tiny_checkpoint, config, device="cuda", precision=name)
        assert caught.value.hint == "use --device cpu"
