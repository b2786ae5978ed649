"""Loads a checkpoint on a device in a precision, and chooses them where they are auto."""

from pathlib import Path

import torch
from torch import nn

from gpt_bigcode.backends.devices import (
    choose_device,
    choose_precision,
    memory_errors,
    reuse_freed_memory,
)
from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.checkpoint.tensor_index import Task
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import DeviceError
from gpt_bigcode.hardware import (
    QUANTIZED,
    LoadingPolicy,
    Precision,
    PrecisionChoice,
    Processor,
    available_memory_bytes,
    choose_for_processor,
    cpu_flags,
)
from gpt_bigcode.quantization.int8_kernel import CALLS_ARE_FAST, has_int8
from gpt_bigcode.quantization.linear import has_int4
from gpt_bigcode.quantization.loading import load_quantized


def load_computable(
    directory: Path,
    config: GPTBigCodeConfig,
    *,
    task: Task = Task.CAUSAL_LM,
    device: str = "auto",
    precision: str = "auto",
    policy: LoadingPolicy | None = None,
) -> nn.Module:
    """Load a model on the best device and in the best precision, unless they are given.

    Args:
        directory: the checkpoint.
        config: its configuration.
        task: the model class.
        device: auto, cpu, cuda or cuda:N.
        precision: auto, float32, bfloat16, float16, int8 or int4.
        policy: the purpose, where quantized weights are cached, and callbacks for notes.

    Raises:
        CheckpointError: the directory's files.
        DeviceError: a device or precision that is not available.
        MemoryLimitError: the weights do not fit.
    """
    policy = policy or LoadingPolicy()
    target = choose_device(device)
    choice = _choose(precision, target, config, policy)
    if target.type == "cpu":
        reuse_freed_memory()
    policy.detail(f"{choice.precision} on {target}: {choice.reason}")
    with memory_errors("the model's weights"):
        if choice.precision in QUANTIZED:
            if not CALLS_ARE_FAST:
                policy.note(
                    f"int8 layers are slower with PyTorch {torch.__version__} than they could be"
                )
            return load_quantized(directory, choice.precision, task=task, policy=policy)
        dtype = choose_precision(choice.precision, target)
        return load_model(directory, task=task, dtype=dtype, device=target)


def _choose(
    name: str, target: torch.device, config: GPTBigCodeConfig, policy: LoadingPolicy
) -> PrecisionChoice:
    """Raises DeviceError for a precision that is not available."""
    if name not in set(Precision):
        raise DeviceError(f"precision: {name!r} is not one of {', '.join(Precision)}")
    wanted = Precision(name)
    if target.type != "cpu":
        if wanted in QUANTIZED:
            raise DeviceError(
                f"precision: {name} is computed on the processor only", hint="use --device cpu"
            )
        reason = "as asked" if name != "auto" else "what this device multiplies best"
        dtype = str(choose_precision(name, target)).removeprefix("torch.")
        return PrecisionChoice(Precision(dtype), reason)
    processor = Processor(
        flags=cpu_flags(), int8=has_int8(), int4=has_int4(), free_bytes=available_memory_bytes()
    )
    choice = choose_for_processor(wanted, processor, config.parameter_count(), policy.job)
    if wanted not in (Precision.AUTO, choice.precision):
        policy.note(f"precision {name}: {choice.reason}; using {choice.precision}")
    return choice
