"""Device, precision, threads and memory: what the machine has decides, or an error says so."""

import os
from pathlib import Path

import pytest
import torch

from gpt_bigcode import hardware
from gpt_bigcode.backends import devices
from gpt_bigcode.errors import DeviceError, MemoryLimitError, OptionError


def test_cuda_without_a_device_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.choose_device("auto") == torch.device("cpu")
    with pytest.raises(DeviceError) as caught:
        devices.choose_device("cuda")
    assert caught.value.hint == "use --device cpu"


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ("flags\t\t: fpu avx2 avx512f", torch.float32),
        ("flags\t\t: fpu avx2 avx512_bf16", torch.bfloat16),
        ("flags\t\t: fpu amx_bf16 amx_tile", torch.bfloat16),
        ("Features\t: fp asimd bf16", torch.bfloat16),
        ("Features\t: fp asimd", torch.float32),
        ("", torch.float32),
    ],
)
def test_the_processor_decides_the_precision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, wanted: torch.dtype
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{flags}\n", "utf-8")
    monkeypatch.setattr(hardware, "_CPU_INFO", path)
    cpu = torch.device("cpu")
    assert devices.choose_precision("auto", cpu) == wanted
    assert devices.choose_precision("float16", cpu) == torch.float16
    monkeypatch.setattr(hardware, "_CPU_INFO", tmp_path / "missing")
    assert devices.choose_precision("auto", cpu) == torch.float32


@pytest.mark.parametrize("group", ["/", "/inner", "/outer/inner"])
@pytest.mark.parametrize(
    ("quota", "cores", "wanted"),
    [
        ("max 100000", 8, 8),
        ("150000 100000", 8, 2),
        ("50000 100000", 8, 1),
        ("900000 100000", 4, 4),
    ],
)
def test_threads_follow_the_control_group(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    group: str,
    quota: str,
    cores: int,
    wanted: int,
) -> None:
    own = tmp_path / "own"
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(hardware, "_CGROUPS", tmp_path)
    monkeypatch.setattr(hardware, "_OWN_GROUPS", own)
    monkeypatch.setattr(hardware, "_cores", lambda: cores)
    # The limit may stand at the group itself or at one around it.
    limited = tmp_path / group.strip("/").split("/")[0]
    limited.mkdir(exist_ok=True)
    (limited / "cpu.max").write_text(quota + "\n", "ascii")
    own.write_text(f"0::{group}\n", "ascii")
    assert hardware.choose_threads() == wanted
    (limited / "cpu.max").unlink()
    old = tmp_path / "cpu" / group.strip("/")
    old.mkdir(parents=True)
    numbers = quota.replace("max", "-1").split()
    (old / "cpu.cfs_quota_us").write_text(numbers[0] + "\n", "ascii")
    (old / "cpu.cfs_period_us").write_text(numbers[1] + "\n", "ascii")
    own.write_text(f"4:memory:/other\n3:cpu,cpuacct:{group}\n", "ascii")
    assert hardware.choose_threads() == wanted


def test_threads_follow_affinity_environment_and_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    assert hardware.choose_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert hardware.choose_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert hardware.choose_threads() == 1
    assert hardware.choose_threads(7) == 7
    for bad in (0, -1, 10**6):
        with pytest.raises(OptionError, match="threads"):
            hardware.choose_threads(bad)


def test_threads_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    devices.set_threads(torch.get_num_threads())
    devices.set_threads(torch.get_num_threads() + 1)
    assert counts == [torch.get_num_threads() + 1]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
    ],
)
def test_too_little_memory_is_one_error(error: Exception) -> None:
    with pytest.raises(MemoryLimitError, match="the cache"), devices.memory_errors("the cache"):
        raise error
    with pytest.raises(RuntimeError, match="other"), devices.memory_errors("the cache"):
        raise RuntimeError("other")
