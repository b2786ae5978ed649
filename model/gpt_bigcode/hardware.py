"""What this machine offers (processor, threads, memory) and the number format that suits it."""

import os
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from pathlib import Path
from typing import Literal, TypedDict

from gpt_bigcode.errors import OptionError

_CPU_INFO = Path("/proc/cpuinfo")
_MEMORY_INFO = Path("/proc/meminfo")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_MAX_THREADS = 1024
# Processors that multiply bfloat16 in hardware: Intel and AMD, Arm.
BFLOAT16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
# ... and those with matrix units, where it is the fastest format for many rows.
MATRIX_FLAGS = frozenset({"amx_bf16"})
# The rest of the memory is for keys and values, activations and everything else.
_SHARE_FOR_WEIGHTS = 0.9


class Precision(StrEnum):
    """The format of the weights; activations follow from it."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"
    INT4 = "int4"


class Job(StrEnum):
    """What is computed: token after token, or many tokens at once."""

    GENERATION = "generation"
    SCORING = "scoring"


PrecisionName = Literal["auto", "float32", "bfloat16", "float16", "int8", "int4"]
"""The values of `Precision`, as strings."""

QUANTIZED = frozenset({Precision.INT8, Precision.INT4})
# Bits of one weight, with the scales of its group.
_BITS = {
    Precision.FLOAT32: 32.0,
    Precision.BFLOAT16: 16.0,
    Precision.FLOAT16: 16.0,
    Precision.INT8: 8.05,
    Precision.INT4: 4.7,
}


def _ignore(_text: str) -> None:
    """The default of callbacks: do nothing."""


@dataclass(frozen=True, kw_only=True)
class LoadingPolicy:
    """How weights are loaded, beyond device and precision.

    Attributes:
        job: determines what `auto` means.
        cache_folder: where quantized weights are cached for the next start; None: nowhere.
        detail: called with what was chosen, and why.
        note: called with what is not available.
        cuda_graphs: on a CUDA device, decode with captured graphs (see `backends.cuda_graph`). They
            have not been run on a GPU yet.
    """

    job: Job = Job.GENERATION
    cache_folder: Path | None = None
    detail: Callable[[str], None] = _ignore
    note: Callable[[str], None] = _ignore
    cuda_graphs: bool = False


class EngineOptions(TypedDict, total=False):
    """Where and how a model is computed; everything has a default.

    Attributes:
        device: auto (default), cpu, cuda or cuda:N.
        precision: the format of the weights; auto (default) suits the device.
        threads: processor threads; default: see `choose_threads`. In NumPy as many parts of a
            prompt are computed side by side, where its BLAS has one thread (OPENBLAS_NUM_THREADS,
            read when it is imported).
        policy: the purpose, where quantized weights are cached, and callbacks for notes.
    """

    device: str
    precision: Precision | PrecisionName
    threads: int | None
    policy: LoadingPolicy | None


@dataclass(frozen=True, kw_only=True)
class Processor:
    """What the choice depends on.

    Attributes:
        flags: instruction sets by Linux's names; empty where they are not known.
        int8: whether PyTorch has fast 8-bit operators here.
        int4: whether it has 4-bit ones.
        free_bytes: memory available without swapping; None: unknown.
    """

    flags: frozenset[str]
    int8: bool
    int4: bool
    free_bytes: int | None = None


@dataclass(frozen=True)
class PrecisionChoice:
    """A precision and the reason for it, as a phrase."""

    precision: Precision
    reason: str


def choose_for_processor(
    wanted: Precision, processor: Processor, parameters: int, job: Job
) -> PrecisionChoice:
    """The precision on a processor.

    `auto` generates text in int8 wherever there are operators, because every token reads all
    weights and int8 is the smallest format that keeps the quality. It scores in bfloat16 where the
    hardware supports it, else in int8. If the weights do not fit, the next smaller format is taken.

    Args:
        wanted: one that is not available is replaced by the next larger one.
        processor: where it is computed.
        parameters: how many weights there are.
        job: what is computed.
    """
    if wanted is not Precision.AUTO:
        return _available(wanted, processor)
    native = bool(BFLOAT16_FLAGS & processor.flags)
    if native and (job is Job.SCORING or not processor.int8):
        first = PrecisionChoice(Precision.BFLOAT16, "this processor multiplies it in hardware")
    elif processor.int8:
        first = PrecisionChoice(Precision.INT8, "the fewest bytes a token that keep the quality")
    else:
        first = PrecisionChoice(Precision.FLOAT32, "this processor has no faster format")
    if processor.free_bytes is None:
        return first
    room = processor.free_bytes * _SHARE_FOR_WEIGHTS
    if weight_bytes(first.precision, parameters) <= room:
        return first
    for smaller in (Precision.INT8, Precision.INT4):
        there = _available(smaller, processor).precision is smaller
        if there and weight_bytes(smaller, parameters) <= room:
            return PrecisionChoice(
                smaller, f"the weights do not fit into memory in {first.precision}"
            )
    return first


def weight_bytes(precision: Precision, parameters: int) -> int:
    """The approximate size of the weights in bytes."""
    return int(parameters * _BITS[precision] / 8)


def _available(wanted: Precision, processor: Processor) -> PrecisionChoice:
    if wanted is Precision.INT4 and not processor.int4:
        found = _available(Precision.INT8, processor)
        return PrecisionChoice(found.precision, "there are no operators for int4 here")
    if wanted is Precision.INT8 and not processor.int8:
        native = BFLOAT16_FLAGS & processor.flags
        larger = Precision.BFLOAT16 if native else Precision.FLOAT32
        return PrecisionChoice(larger, "there are no operators for int8 here")
    return PrecisionChoice(wanted, "as asked")


def cpu_flags() -> frozenset[str]:
    """What the processor can do, by Linux's names; empty elsewhere."""
    lines = _read(_CPU_INFO).splitlines()
    listed = (line.partition(":") for line in lines)
    found = (flags for name, _, flags in listed if name.strip() in ("flags", "Features"))
    return frozenset(next(found, "").split())


def available_memory_bytes() -> int | None:
    """Memory this process can use without swapping; None where the system does not tell.

    The smallest of what the machine has available and what remains in the control group of this
    process and in each group around it.
    """
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", _read(_MEMORY_INFO), re.MULTILINE)
    room = [int(found[1]) * 1024] if found else []
    for folder in _control_groups("memory"):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            most, now = _read(folder / limit), _read(folder / used)
            if most.isdigit() and now.isdigit():
                room.append(max(int(most) - int(now), 0))
    return min(room, default=None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def choose_threads(threads: int | None = None) -> int:
    """How many threads to compute with.

    Default: OMP_NUM_THREADS if it is set, else the smaller of the cores that the process may run
    on and the processor time that its control group grants (containers see all the host's cores).

    Raises:
        OptionError: not 1 to 1024.
    """
    if threads is not None:
        if not 1 <= threads <= _MAX_THREADS:
            raise OptionError(f"threads: {threads} is not 1 to {_MAX_THREADS}")
        return threads
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isascii() and asked.isdigit() and 1 <= int(asked) <= _MAX_THREADS:
        return int(asked)
    return max(1, min(_cores(), _quota()))


def row_threads(threads: int | None) -> int:
    """How many rows, or parts of a prompt, NumPy computes at once.

    Args:
        threads: as for `choose_threads`. One, where the BLAS itself was given, or left,
            more than one thread (OPENBLAS_NUM_THREADS): together they would be too many.
    """
    alone = os.environ.get("OPENBLAS_NUM_THREADS") == "1"
    return choose_threads(threads) if alone else 1


def processor_model() -> str:
    """The processor's model as the system names it; where it does not, its architecture."""
    lines = (line.partition(":") for line in _read(_CPU_INFO).splitlines())
    names = (value.strip() for key, _, value in lines if key.strip() == "model name")
    return next(names, platform.machine())


def processor_name() -> str:
    """Which processor this is, as far as the system tells: libraries choose their code by it."""
    lines = (line.partition(":") for line in _read(_CPU_INFO).splitlines())
    names = (value.strip() for key, _, value in lines if key.strip() in ("model name", "flags"))
    found = " ".join(value for _, value in zip(range(2), names, strict=False))
    return f"{platform.machine()} {found}"


def _cores() -> int:
    """Physical cores among the processors that this process may run on."""
    try:
        allowed = os.sched_getaffinity(0)
    except (AttributeError, OSError):
        return os.cpu_count() or 1
    topology = Path("/sys/devices/system/cpu")
    siblings = set()
    for number in allowed:
        try:
            siblings.add(
                (topology / f"cpu{number}/topology/thread_siblings_list").read_text("ascii")
            )
        except OSError:
            return len(allowed)
    return len(siblings)


def _quota() -> int:
    """Processors' worth of time that the control groups grant, rounded up; no limit: many."""
    limits = [_MAX_THREADS]
    for folder in _control_groups("cpu"):
        # Version 2 has "quota period" in one file and "max" for none, version 1 two files and -1.
        words = _read(folder / "cpu.max").split()
        words = words or [_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
        quota, period = words if len(words) == 2 else ("", "")
        if quota.isdigit() and period.isdigit() and int(period):
            limits.append(ceil(int(quota) / int(period)))
    return min(limits)


def _control_groups(controller: str) -> Iterator[Path]:
    """The folders of this process's group and of the groups around it; none outside Linux."""
    for line in _read(_OWN_GROUPS).splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUPS / controller if controllers else _CGROUPS
        own = root / path.strip("/")
        yield own
        yield from (folder for folder in own.parents if folder.is_relative_to(root))
