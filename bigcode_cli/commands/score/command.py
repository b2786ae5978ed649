"""`bigcode score`: how surprising files are to a model.

Knows nothing of how options are parsed, texts are read or results are shown.
"""

import os
from pathlib import Path

import typer

from bigcode_cli.commands.score.gates import Gates
from bigcode_cli.commands.score.html_page import Page
from bigcode_cli.commands.score.options import (
    GateOptions,
    InputPaths,
    ScoringOptions,
    Staged,
    ViewOptions,
    Window,
)
from bigcode_cli.commands.score.run import ScoreRun
from bigcode_cli.files import sources
from bigcode_cli.files.options import TableFormat
from bigcode_cli.files.walk import find_sources
from bigcode_cli.framework.errors import ExitStatus, UsageFailure
from bigcode_cli.framework.options import KeptModelOptions
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.load import load_text_scorer, set_numpy_threads
from bigcode_cli.models.resolve import find_model


def score(
    paths: InputPaths = None,
    *,
    staged: Staged = False,
    scoring: ScoringOptions,
    gates: GateOptions,
    model: KeptModelOptions,
    table: ViewOptions,
) -> None:
    """Tell how surprising files are to a model, in bits per byte.

    Folders are searched, without hidden files and what .gitignore excludes. Each token is scored
    once, after an end-of-text token that is not. What is no text is skipped, unless it is the only
    file. With --staged the files in git's index are read, and only their added lines are judged.
    """
    _refuse_contradictions(scoring, table)
    page = None if table.html is None else Page.prepare(table.html)
    set_numpy_threads(1)  # the threads take one row each
    limits = Gates.of(gates)
    found = find_model(model.model)
    limits.check_model(found.name)
    if staged:
        texts = _staged(paths or [])
    elif paths:
        texts = list(find_sources(paths))
    else:
        sources.refuse_terminal()
        texts = [sources.file_source(sources.STANDARD_INPUT)]
    if page is not None and not staged:
        texts = _without_page(texts, page.file)
    notes = Notes(quiet=table.quiet, verbose=table.verbose)
    if not texts and not staged:
        notes.note("there are no files here")
    run = ScoreRun(
        options=scoring,
        gates=limits,
        table=table,
        notes=notes,
        found=found,
        model=model,
        page=page,
    )
    status = run.execute(texts, lambda: load_text_scorer(found, model, notes))
    if status is ExitStatus.FINDINGS and gates.exit_zero:
        status = ExitStatus.DONE
    if status is not ExitStatus.DONE:
        raise typer.Exit(status)


def _without_page(texts: list[sources.Source], page: Path) -> list[sources.Source]:
    """Leave out the page of an earlier call that was found in a folder.

    Raises:
        UsageFailure: it would be written over a file that was named.
    """
    same = [text for text in texts if text.repeatable and _is_same(text.path, page)]
    if any(text.named for text in same):
        raise UsageFailure(f"--html: {page} is one of the files to score")
    return [text for text in texts if text not in same]


def _is_same(path: str, page: Path) -> bool:
    return os.path.exists(path) and os.path.exists(page) and os.path.samefile(path, page)  # noqa: PTH110, PTH121


def _refuse_contradictions(scoring: ScoringOptions, table: ViewOptions) -> None:
    if scoring.stride is not None and scoring.window is not Window.STRIDED:
        raise UsageFailure(f"--stride: --window {scoring.window} has none")
    if table.format is TableFormat.CSV and scoring.lines and scoring.tokens:
        raise UsageFailure("--format csv: one table holds --lines or --tokens, not both")
    if table.heatmap and table.format is not TableFormat.TEXT:
        raise UsageFailure(f"--heatmap is a text: it does not go with --format {table.format}")
    if table.heatmap and (scoring.lines or scoring.tokens):
        raise UsageFailure("--heatmap shows lines and tokens: it goes without --lines and --tokens")


def _staged(paths: list[Path]) -> list[sources.Source]:
    from bigcode_cli.files.git_staged import staged_sources

    names = list(map(str, paths))
    if sources.STANDARD_INPUT in names:
        raise UsageFailure("--staged: reads git's index, not standard input")
    return staged_sources(names)
