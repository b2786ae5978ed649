"""How measurements are shown: as a card for people, as one JSON line for programs."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.bench.run import AutoSelection, Measured
from bigcode_cli.framework.options import OutputFormat
from bigcode_cli.framework.output import (
    Result,
    shown_bytes,
    shown_count,
    write_document,
    write_facts,
    write_table,
)

if TYPE_CHECKING:
    from gpt_bigcode.benchmarking.measure import Spread

_HEADINGS = (
    "precision",
    "prefill",
    "decode",
    "first token",
    "load",
    "memory",
    "% of memory bandwidth",
)
_ALL_DIGITS = 100


@dataclass(frozen=True, kw_only=True)
class Card:
    """The measurements of one model on this machine."""

    model: str
    parameters: int
    context: int
    repeat: int
    device: str
    threads: int
    bandwidth_bytes_per_second: float | None
    auto: AutoSelection
    precisions: tuple[Measured, ...]

    def write(self, output_format: OutputFormat) -> None:
        """Write it to stdout."""
        if output_format is OutputFormat.TEXT:
            self._write_text()
        else:
            write_document(self._document(), OutputFormat.JSONL)

    def _write_text(self) -> None:
        limit = self.bandwidth_bytes_per_second
        bandwidth = "not measured" if limit is None else f"{shown_bytes(limit)}/s"
        device = "CPU" if self.device == "cpu" else self.device
        write_facts(
            [
                ("model", f"{self.model}, {shown_count(self.parameters)} parameters"),
                ("device", f"{device}, {_counted(self.threads, 'thread')}"),
                ("memory bandwidth", bandwidth),
                ("prompt", f"{_counted(self.context, 'token')}, {_counted(self.repeat, 'run')}"),
                ("auto", f"{self.auto.precision} in {self.auto.engine}: {self.auto.reason}"),
            ]
        )
        result = Result()
        result.write("\n")
        result.close()
        there = [row for row in self.precisions if row.rates is not None]
        if there:
            write_table(_HEADINGS, [self._row(row) for row in there])
        absent = [row for row in self.precisions if row.rates is None]
        if absent:
            write_facts([(row.precision, f"not measured: {row.unavailable}") for row in absent])

    def _row(self, row: Measured) -> tuple[str, ...]:
        rates = row.rates
        if rates is None:
            return ()
        chosen = (row.precision, row.engine) == (self.auto.precision, self.auto.engine)
        share = "?" if row.bandwidth_share is None else f"{row.bandwidth_share:.0%}"
        memory = "?" if row.memory_bytes is None else shown_bytes(row.memory_bytes)
        return (
            row.precision + (" (auto)" if chosen else ""),
            _rate(rates.prefill_tokens_per_second),
            _rate(rates.decode_tokens_per_second),
            f"{rates.first_token_seconds.median:.3f} s",
            f"{row.load_seconds:.2f} s",
            memory,
            share,
        )

    def _document(self) -> dict[str, Any]:
        values = asdict(self)
        values["precisions"] = [_facts(row) for row in self.precisions]
        return values


def _facts(row: Measured) -> dict[str, Any]:
    """Return the known fields of a row, rates included."""
    values = asdict(row)
    if row.rates is None:
        return {name: values[name] for name in ("precision", "unavailable")}
    del values["unavailable"]
    return {**values.pop("rates"), **values}


def _rate(rate: "Spread") -> str:
    middle, lowest, highest = map(_number, (rate.median, rate.lowest, rate.highest))
    return f"{middle}/s ({lowest}-{highest})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= _ALL_DIGITS else f"{value:.3g}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
