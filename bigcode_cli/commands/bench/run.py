"""Measures one checkpoint in every precision that this machine supports."""

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.bench.options import BenchOptions, Shape
from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.options import ModelOptions
from bigcode_cli.framework.output import shown_bytes
from gpt_bigcode.hardware import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpt_bigcode.backends.interfaces import Decoder
    from gpt_bigcode.benchmarking.measure import Rates
    from gpt_bigcode.config import GPTBigCodeConfig

_REASONS = {
    "numpy": "the checkpoint is small: NumPy answers before PyTorch is imported",
    "int8": "fewest bytes per token without loss of quality",
    "int4": "larger formats do not fit into memory",
    "bfloat16": "supported by the hardware",
    "float16": "no bfloat16 on this device",
    "float32": "16 bits are not faster on this CPU",
}
# Processors that multiply float16 in hardware, by Linux's names: Intel, Arm.
_FLOAT16_FLAGS = frozenset({"avx512_fp16", "amx_fp16", "fphp", "asimdhp"})


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One precision: its rates, or why there are none.

    Attributes:
        precision: the format of the weights.
        engine: numpy or torch.
        load_seconds: the time to load the model, without the import of PyTorch.
        memory_bytes: the growth of the process: weights, cache and activations.
        bandwidth_share: the share of the memory bandwidth, 0 to 1.
    """

    precision: str
    engine: str | None = None
    unavailable: str | None = None
    load_seconds: float = 0.0
    rates: "Rates | None" = None
    memory_bytes: int | None = None
    bandwidth_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class AutoSelection:
    """What `auto` chooses, and why."""

    precision: str
    engine: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One checkpoint to measure.

    Attributes:
        directory: its folder.
        config: its configuration.
        options: what is measured.
        model: device, precision and threads.
    """

    directory: Path
    config: "GPTBigCodeConfig"
    options: BenchOptions
    model: ModelOptions

    @property
    def on_processor(self) -> bool:
        """Whether the model runs on the CPU."""
        if self.model.device != "auto":
            return self.model.device == "cpu"
        import torch

        return not torch.cuda.is_available()

    def threads(self, choice: AutoSelection) -> int:
        """Return the number of threads: NumPy uses one unless told otherwise."""
        from gpt_bigcode.hardware import choose_threads

        if choice.engine == "numpy":
            return self.model.threads or 1
        return choose_threads(self.model.threads)

    def choice(self) -> AutoSelection:
        """Load the model as `auto` does."""
        decoder = self._open("auto")
        engine, precision = _describe(decoder)
        reason = _REASONS["numpy" if engine == "numpy" else precision]
        return AutoSelection(precision=precision, engine=engine, reason=reason)

    def refusal(self, precision: str) -> str | None:
        """Return why a precision is not tried; None if it is."""
        return self._refuse_float16(precision) or _refuse_memory(self.config, precision)

    def measure(self, precision: str, bandwidth: float | None) -> Measured:
        """Load the model in one precision and measure it, unless it is refused."""
        from gpt_bigcode.benchmarking.measure import (
            bytes_per_token,
            measure_decoder,
            resident_bytes,
        )
        from gpt_bigcode.errors import GPTBigCodeError

        refusal = self.refusal(precision)
        if refusal is not None:
            return Measured(precision=precision, unavailable=refusal)
        before, started = resident_bytes(), perf_counter()
        try:
            decoder = self._open(precision)
            loaded = perf_counter() - started
            engine, found = _describe(decoder)
            if found != precision:
                return Measured(precision=precision, unavailable=f"computed in {found} here")
            context = self.options.prompt_tokens
            rates = measure_decoder(decoder, context=context, repeat=self.options.repeat)
        except GPTBigCodeError as error:
            if self.model.precision is not Precision.AUTO:
                raise
            return Measured(precision=precision, unavailable=str(error))
        after = resident_bytes()
        grown = None if before is None or after is None else max(after - before, 0)
        needed = bytes_per_token(self.config, precision, context)
        share = needed * rates.decode_tokens_per_second.median / bandwidth if bandwidth else None
        return Measured(
            precision=precision,
            engine=engine,
            load_seconds=loaded,
            rates=rates,
            memory_bytes=grown,
            bandwidth_share=share,
        )

    def _refuse_float16(self, precision: str) -> str | None:
        """Return why float16 is left out unless asked for: without hardware it takes minutes."""
        from gpt_bigcode.hardware import cpu_flags

        asked = self.model.precision is not Precision.AUTO
        if precision != "float16" or asked or not self.on_processor:
            return None
        flags = cpu_flags()
        if not flags or flags & _FLOAT16_FLAGS:
            return None
        return "slow without hardware for it; --precision float16 measures it"

    def _open(self, precision: str) -> "Decoder":
        from gpt_bigcode.loading import open_decoder

        return open_decoder(
            self.directory,
            self.config,
            device=self.model.device,
            precision=Precision(precision),
            threads=self.model.threads,
        )


def precisions(model: ModelOptions) -> list[str]:
    """Return the requested precision, or all."""
    if model.precision is not Precision.AUTO:
        return [model.precision.value]
    return [precision.value for precision in Precision if precision is not Precision.AUTO]


@contextmanager
def random_checkpoint(shape: Shape, precisions: list[str]) -> "Iterator[tuple[Path, Any]]":
    """Write random weights of a size into a temporary folder, which is removed afterwards.

    Args:
        shape: the size.
        precisions: those that will be tried; one of them must fit.

    Raises:
        Failure: `memory`, `disk`: it does not fit.
    """
    from gpt_bigcode.benchmarking.random_weights import (
        checkpoint_bytes,
        family_config,
        write_random_checkpoint,
    )

    config = family_config(shape.value)
    refusals = [_refuse_memory(config, precision) for precision in precisions]
    if all(refusals):
        raise Failure("memory", f"--shape {shape.value}: {refusals[-1]}")
    place, size = tempfile.gettempdir(), checkpoint_bytes(config)
    free, needed = shutil.disk_usage(place).free, size + (size >> 3)  # never fill a disk
    if free < needed:
        why = f"needs {shown_bytes(needed)} in {place}, {shown_bytes(free)} are free"
        raise Failure("disk", f"--shape {shape.value}: {why}", hint="TMPDIR names another folder")
    with tempfile.TemporaryDirectory(prefix="bigcode-bench-") as folder:
        write_random_checkpoint(Path(folder), config)
        yield Path(folder), config


def _refuse_memory(config: "GPTBigCodeConfig", precision: str) -> str | None:
    from gpt_bigcode.benchmarking.measure import WEIGHT_BYTES
    from gpt_bigcode.hardware import available_memory_bytes

    needed = int(config.parameter_count() * WEIGHT_BYTES[precision] * 1.15)
    free = available_memory_bytes()
    if free is None or needed <= free:
        return None
    return f"{precision} needs {shown_bytes(needed)} of memory, {shown_bytes(free)} are free"


def _describe(decoder: "Decoder") -> tuple[str, str]:
    """Name the engine and the precision of a decoder."""
    model: Any = getattr(decoder, "model", None)
    if model is None:
        return "numpy", "float32"
    layers = {type(module).__name__ for module in model.transformer.h.modules()}
    for name, precision in (("Int8Linear", "int8"), ("Int4Linear", "int4")):
        if name in layers:
            return "torch", precision
    return "torch", str(model.transformer.ln_f.weight.dtype).removeprefix("torch.")
