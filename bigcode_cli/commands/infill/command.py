"""`bigcode infill`: fills a gap in a text; `--in-place` below `--min-confidence` is status 1."""

from typing import TYPE_CHECKING

import typer

from bigcode_cli.commands.complete.command import note_reuse, note_useless, open_text_model
from bigcode_cli.commands.infill.cursor import Place, check_way, find_place
from bigcode_cli.commands.infill.options import AnswerOptions, PlaceOptions, Shown
from bigcode_cli.commands.infill.presenter import InfillPresenter
from bigcode_cli.framework.errors import ExitStatus, UsageFailure
from bigcode_cli.framework.options import (
    GenerationOptions,
    InputFile,
    KeptModelOptions,
    OutputFormat,
    ReportOptions,
    ServerOptions,
)
from bigcode_cli.framework.output import Notes, plural
from bigcode_cli.io import text_input
from bigcode_cli.io.atomic_files import Target, atomic_write, in_place_target
from bigcode_cli.models.load import (
    infill_options,
    left_of_budget,
    set_numpy_threads,
)
from bigcode_cli.models.resolve import find_model
from bigcode_cli.server.paths import allowed_server

if TYPE_CHECKING:
    from gpt_bigcode.completion.options import Choice, InfillOptions
    from gpt_bigcode.completion.text_model import TextModel


def infill(  # noqa: PLR0913  # one dataclass for each group of options
    file: InputFile = None,
    *,
    place: PlaceOptions,
    answer: AnswerOptions,
    generation: GenerationOptions,
    model: KeptModelOptions,
    server: ServerOptions,
    report: ReportOptions,
) -> None:
    """Fill a gap in FILE or standard input.

    Exactly one option says where the gap is. Output is streamed, and stops where it would repeat
    what follows the gap. Without --until, a gap inside a line ends with the line, and a gap on a
    line of its own with the block. The model must have been trained to infill.
    """
    _check_answer(answer, place, generation)
    check_way(file, place)
    set_numpy_threads(model.threads)
    target = in_place_target(file, text_input.STREAM_BYTES) if answer.in_place else None
    notes = Notes(quiet=report.quiet, verbose=report.verbose)
    found = find_model(model.model)
    gap = find_place(file, place, target)
    options = infill_options(
        generation,
        gap.source,
        order=answer.order.value if answer.order else None,
        trim=not answer.no_trim,
    )
    choice = allowed_server(server.server, offline=report.offline)
    text_model = open_text_model(found, model, choice, generation, notes)
    presenter = InfillPresenter(
        source=gap.source,
        format=report.format,
        echo=False,
        notes=notes,
        place=gap,
        shown=answer.print or Shown.MIDDLE,
    )
    note_useless(options, notes)
    _answer(text_model, options, presenter, target)
    note_reuse(text_model, notes)


def _answer(
    text_model: "TextModel",
    options: "InfillOptions",
    presenter: InfillPresenter,
    target: Target | None,
) -> None:
    """Fill the gap, and show the answer or write it into the file.

    Raises:
        Exit: with 1, the file was not changed because the answer is not certain enough.
    """
    gap, options = presenter.place, left_of_budget(options)
    text = presenter.format is OutputFormat.TEXT
    if text and options.samples == 1 and presenter.shown is not Shown.DIFF and target is None:
        presenter.stream(text_model.stream_infill(gap.prefix, gap.suffix, options))
        return
    completion = text_model.infill(gap.prefix, gap.suffix, options)
    status = ExitStatus.DONE
    if target is not None:
        status = _change(target, gap, completion.choices[0], options, presenter.notes)
    presenter.write(completion, silent=target is not None and text)
    if status is not ExitStatus.DONE:
        raise typer.Exit(status)


def _change(
    target: Target, gap: Place, choice: "Choice", options: "InfillOptions", notes: Notes
) -> ExitStatus:
    """Write the answer into the file; an empty one changes nothing, a marker included."""
    if choice.text:
        done = "written" if atomic_write(target, gap.filled(choice.text)) else "unchanged"
        if notes.verbose or notes.has_listener:
            lines = plural(choice.text.count("\n") + 1, "line")
            size = f"{plural(len(choice.text), 'character')} on {lines}"
            notes.note(f"{target.name}: {done}, {size}")
        return ExitStatus.DONE
    floor = options.min_confidence
    if floor is None or choice.confidence >= floor:
        notes.note(f"{target.name}: unchanged, the answer is empty")
        return ExitStatus.DONE
    notes.note(f"{target.name}: unchanged, the answer is below --min-confidence {floor:g}")
    return ExitStatus.FINDINGS


def _check_answer(
    answer: AnswerOptions, place: PlaceOptions, generation: GenerationOptions
) -> None:
    """Refuse options that conflict, before anything is read."""
    pair = place.prefix_file is not None or place.suffix_file is not None
    if answer.in_place and answer.print is not None:
        raise UsageFailure("--in-place writes the file: it does not go with --print")
    if answer.in_place and generation.samples != 1:
        raise UsageFailure("--in-place writes one answer: it does not go with --samples")
    if pair and (answer.in_place or answer.print is Shown.DIFF):
        option = "--in-place" if answer.in_place else "--print diff"
        raise UsageFailure(f"{option} needs one FILE, not --prefix-file and --suffix-file")
