"""`bigcode bench`: measures how fast a model runs on this machine, and how fast it could."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

from bigcode_cli.commands.bench.card import Card
from bigcode_cli.commands.bench.options import BenchOptions
from bigcode_cli.commands.bench.run import Bench, precisions, random_checkpoint
from bigcode_cli.framework.errors import UsageFailure
from bigcode_cli.framework.options import ModelOptions, ReportOptions
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.load import set_numpy_threads
from bigcode_cli.models.resolve import find_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpt_bigcode.config import GPTBigCodeConfig


def bench(
    *,
    measurement: BenchOptions,
    model: ModelOptions,
    report: ReportOptions,
) -> None:
    """Measure how fast a model runs on this machine, in every precision.

    Prefills a prompt of random tokens, then decodes 32 tokens of one sequence without speculation.
    Decoding reads all weights for every token, so memory bandwidth limits it.
    """
    set_numpy_threads(model.threads)
    if measurement.shape is not None and model.model is not None:
        raise UsageFailure("--shape and --model do not go together")
    notes = Notes(quiet=report.quiet, verbose=report.verbose)
    with _checkpoint(measurement, model, notes) as (name, directory, config):
        bench = Bench(directory=directory, config=config, options=measurement, model=model)
        card = _measure(bench, name, notes)
    card.write(report.format)


@contextmanager
def _checkpoint(
    measurement: BenchOptions, model: ModelOptions, notes: Notes
) -> "Iterator[tuple[str, Path, GPTBigCodeConfig]]":
    """Find the model, or make a temporary one of random weights."""
    from gpt_bigcode.benchmarking.measure import require_room

    if measurement.shape is None:
        found = find_model(model.model)
        from gpt_bigcode.config import GPTBigCodeConfig

        config = GPTBigCodeConfig.from_json_file(found.directory / "config.json")
        require_room(measurement.prompt_tokens, config.n_positions)
        yield found.name, found.directory, config
        return
    from gpt_bigcode.benchmarking.random_weights import family_config

    shape = measurement.shape
    require_room(measurement.prompt_tokens, family_config(shape.value).n_positions)
    notes.remark(f"writing random weights of the size of {shape.value}")
    with random_checkpoint(shape, precisions(model)) as (directory, config):
        yield f"random weights of {shape.value}'s size", directory, config


def _measure(bench: Bench, name: str, notes: Notes) -> Card:
    from gpt_bigcode.benchmarking.measure import measure_bandwidth

    choice = bench.choice()
    threads = bench.threads(choice)
    on_processor = bench.on_processor
    bandwidth = measure_bandwidth(threads) if on_processor else None
    rows = []
    wanted = precisions(bench.model)
    for number, precision in enumerate(wanted, start=1):
        if bench.refusal(precision) is None:
            notes.remark(f"measuring {precision} ({number} of {len(wanted)})")
        rows.append(bench.measure(precision, bandwidth))
    return Card(
        model=name,
        parameters=bench.config.parameter_count(),
        context=bench.options.prompt_tokens,
        repeat=bench.options.repeat,
        device="cpu" if on_processor else bench.model.device,
        threads=threads,
        bandwidth_bytes_per_second=bandwidth,
        auto=choice,
        precisions=tuple(rows),
    )
