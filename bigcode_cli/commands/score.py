"""`bigcode score`: how surprising files are to a model.

Knows nothing of how options are parsed, texts are read or results are shown.
"""

from pathlib import Path

import typer

from bigcode_cli import requests, sources
from bigcode_cli.catalog import find_model
from bigcode_cli.failures import ExitStatus, UsageFailure
from bigcode_cli.gates import Gates
from bigcode_cli.options import ModelOptions
from bigcode_cli.output import Notes
from bigcode_cli.score_options import (
    GateOptions,
    InputPaths,
    ScoringOptions,
    Staged,
    TableFormat,
    TableOptions,
    Window,
)
from bigcode_cli.score_run import ScoreRun
from bigcode_cli.walking import find_sources


def score(
    paths: InputPaths = None,
    *,
    staged: Staged = False,
    scoring: ScoringOptions,
    gates: GateOptions,
    model: ModelOptions,
    table: TableOptions,
) -> None:
    """Tell how surprising files are to a model, in bits per byte.

    Folders are searched, without hidden files and what .gitignore excludes. Each token is scored
    once, after an end-of-text token that is not. What is no text is skipped, unless it is the only
    file. With --staged the files in git's index are read, and only their added lines are judged.
    """
    _refuse_contradictions(scoring, table)
    requests.set_numpy_threads(model.threads)
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
    notes = Notes(quiet=table.quiet, verbose=table.verbose)
    if not texts and not staged:
        notes.note("there are no files here")
    run = ScoreRun(options=scoring, gates=limits, table=table, notes=notes)
    status = run.execute(texts, lambda: requests.load_text_scorer(found, model, notes))
    if status is not ExitStatus.DONE:
        raise typer.Exit(status)


def _refuse_contradictions(scoring: ScoringOptions, table: TableOptions) -> None:
    if scoring.stride is not None and scoring.window is not Window.STRIDED:
        raise UsageFailure(f"--stride: --window {scoring.window} has none")
    if table.format is TableFormat.CSV and scoring.lines and scoring.tokens:
        raise UsageFailure("--format csv: one table holds --lines or --tokens, not both")


def _staged(paths: list[Path]) -> list[sources.Source]:
    from bigcode_cli.git.staged import staged_sources

    names = list(map(str, paths))
    if sources.STANDARD_INPUT in names:
        raise UsageFailure("--staged: reads git's index, not standard input")
    return staged_sources(names)
