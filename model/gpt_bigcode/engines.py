"""Chooses what computes: NumPy for a small checkpoint on the processor, PyTorch for all else.

Knows no text. PyTorch is imported only where it is chosen: that alone takes longer than completing
64 tokens with a small checkpoint in NumPy.
"""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import MemoryLimitError
from gpt_bigcode.generation import Decoder
from gpt_bigcode.parallel_rows import row_threads
from gpt_bigcode.precision import LoadingPolicy
from gpt_bigcode.reference import NumpyDecoder
from gpt_bigcode.threads import choose_threads
from gpt_bigcode.weights import weight_files

if TYPE_CHECKING:
    from gpt_bigcode.heads import GPTBigCodeForCausalLM

# Above this size the faster kernels of PyTorch make up for the time that its import takes.
MAX_INSTANT_BYTES = 64 * 10**6


def open_decoder(
    directory: Path,
    config: GPTBigCodeConfig,
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    policy: LoadingPolicy | None = None,
) -> Decoder:
    """Load the weights of a language model where they are computed best.

    Args:
        directory: the checkpoint.
        config: its configuration.
        device: auto, cpu, cuda or cuda:N.
        precision: auto, float32, bfloat16, float16, int8 or int4.
        threads: processor threads of PyTorch; in NumPy as many parts of a prompt are read side by
            side, where its BLAS has one thread (OPENBLAS_NUM_THREADS, read when it is imported).
        policy: what it is for, where quantized weights are kept, who is told what was chosen.

    Raises:
        CheckpointError: the directory's files.
        DeviceError: a device or precision that is not there.
        OptionError: fewer than one thread.
        MemoryLimitError: the weights do not fit.
    """
    choose_threads(threads)
    policy = policy or LoadingPolicy()
    if is_instant(directory, config, device=device, precision=precision):
        policy.detail("float32 in NumPy: a small checkpoint, PyTorch would take longer to start")
        try:
            return NumpyDecoder.load(directory, threads=row_threads(threads))
        except MemoryError:
            raise MemoryLimitError("not enough memory for the model's weights") from None
    from gpt_bigcode.decoder import TorchDecoder
    from gpt_bigcode.devices import set_threads
    from gpt_bigcode.loading import load_computable

    set_threads(threads)
    model = load_computable(directory, config, device=device, precision=precision, policy=policy)
    language_model = cast("GPTBigCodeForCausalLM", model)
    if policy.cuda_graphs and next(model.parameters()).device.type == "cuda":
        from gpt_bigcode.graphed import GraphedDecoder

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
