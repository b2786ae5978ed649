"""Chooses what computes: NumPy for a small checkpoint on the processor, PyTorch for all else.

PyTorch is imported only where it is chosen: that alone takes longer than completing 64 tokens with
a small checkpoint in NumPy.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.numpy_rows import row_threads
from gpt_bigcode.checkpoint.tensor_index import Task, require_head, weight_files
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import (
    MemoryLimitError,
)
from gpt_bigcode.hardware import EngineOptions, Job, LoadingPolicy, choose_threads

if TYPE_CHECKING:
    from gpt_bigcode.backends.interfaces import Decoder, Labeler, Scorer
    from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM

# Above this size the faster kernels of PyTorch make up for the time that its import takes.
MAX_INSTANT_BYTES = 64 * 10**6


def open_decoder(
    directory: Path, config: GPTBigCodeConfig, **options: Unpack[EngineOptions]
) -> "Decoder":
    """Load the weights of a language model where they are computed best.

    Args:
        directory: the checkpoint.
        config: its configuration.
        options: see `EngineOptions`.

    Raises:
        CheckpointError: the directory's files.
        DeviceError: a device or precision that is not available.
        OptionError: fewer than one thread.
        MemoryLimitError: the weights do not fit.
    """
    threads, policy = options.get("threads"), options.get("policy")
    device, precision = options.get("device", "auto"), options.get("precision", "auto")
    choose_threads(threads)
    policy = policy or LoadingPolicy()
    if is_instant(directory, config, device=device, precision=precision):
        policy.detail("float32 in NumPy: a small checkpoint, PyTorch would take longer to start")
        try:
            return NumpyDecoder.load(directory, threads=row_threads(threads))
        except MemoryError:
            raise MemoryLimitError("not enough memory for the model's weights") from None
    from gpt_bigcode.backends.devices import set_threads
    from gpt_bigcode.backends.torch_decoder import TorchDecoder
    from gpt_bigcode.backends.torch_loading import load_computable

    set_threads(threads)
    model = load_computable(directory, config, device=device, precision=precision, policy=policy)
    language_model = cast("GPTBigCodeForCausalLM", model)
    if policy.cuda_graphs and next(model.parameters()).device.type == "cuda":
        from gpt_bigcode.backends.cuda_graph import GraphedDecoder

        return GraphedDecoder(language_model, detail=policy.detail)
    return TorchDecoder(language_model)


def is_instant(directory: Path, config: GPTBigCodeConfig, *, device: str, precision: str) -> bool:
    """Whether NumPy computes it: a small checkpoint, on the processor, in float32.

    Raises:
        CheckpointError: there are no weights to tell the size of.
    """
    plain = device in ("auto", "cpu") and precision in ("auto", "float32")
    return plain and _is_small(directory, config)


def _is_small(directory: Path, config: GPTBigCodeConfig) -> bool:
    size = sum(path.stat().st_size for path in weight_files(directory))
    return size <= MAX_INSTANT_BYTES and not config.add_cross_attention


def open_scorer(
    directory: Path, config: GPTBigCodeConfig, **options: Unpack[EngineOptions]
) -> "Scorer":
    """Load the weights of a language model; arguments and errors are those of `open_decoder`."""
    threads, policy = options.get("threads"), options.get("policy") or LoadingPolicy()
    options["policy"] = replace(policy, job=Job.SCORING)
    decoder = open_decoder(directory, config, **options)
    if isinstance(decoder, NumpyDecoder):
        from gpt_bigcode.backends.numpy_heads import NumpyScorer

        return NumpyScorer(decoder, threads=row_threads(threads))
    from gpt_bigcode.backends.torch_heads import TorchScorer

    return TorchScorer.of(decoder)


def open_labeler(
    directory: Path, config: GPTBigCodeConfig, *, task: Task, **options: Unpack[EngineOptions]
) -> "Labeler":
    """Load the weights of a classifier where they are computed best.

    Args:
        directory: the checkpoint.
        config: its configuration.
        task: SEQUENCE_CLASSIFICATION or TOKEN_CLASSIFICATION.
        options: see `EngineOptions`.

    Raises:
        CheckpointError: the directory's files, or a checkpoint with another head.
        DeviceError, MemoryLimitError, OptionError: as for `open_decoder`.
    """
    threads = options.get("threads")
    device, precision = options.get("device", "auto"), options.get("precision", "auto")
    require_head(directory, task)
    choose_threads(threads)
    if is_instant(directory, config, device=device, precision=precision):
        from gpt_bigcode.backends.numpy_heads import NumpyLabeler

        try:
            decoder = NumpyDecoder.load(directory, task=task)
            return NumpyLabeler(decoder, task, threads=row_threads(threads))
        except MemoryError:
            raise MemoryLimitError("not enough memory for the model's weights") from None
    from gpt_bigcode.backends.torch_heads import TorchLabeler

    return TorchLabeler.load(directory, task=task, **options)
