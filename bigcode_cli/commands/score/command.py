"""`bigcode score`: how predictable files are to a model."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bigcode_cli.commands.score.gates import Gates
from bigcode_cli.commands.score.options import GateOptions, ScoringOptions, ViewOptions, Windowing
from bigcode_cli.commands.score.run import ScoreRun
from bigcode_cli.files.sources import Source, find_texts
from bigcode_cli.framework.errors import ExitStatus, UsageFailure
from bigcode_cli.framework.options import (
    InputPaths,
    KeptModelOptions,
    ServerOptions,
    Staged,
    TableFormat,
)
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.load import load_text_scorer, set_numpy_threads
from bigcode_cli.models.resolve import find_model
from bigcode_cli.server.paths import SCHEMES, ServedModel, allowed_server, judging_model

if TYPE_CHECKING:
    from bigcode_cli.commands.score.html_page import Page
    from gpt_bigcode.scoring.text_scorer import TextScorer


def score(  # noqa: PLR0913  # one dataclass for each group of options
    paths: InputPaths = None,
    *,
    staged: Staged = False,
    gates: GateOptions,
    table: ViewOptions,
    scoring: ScoringOptions,
    model: KeptModelOptions,
    server: ServerOptions,
) -> None:
    """Score how predictable files are to a model, in bits per byte (higher = more surprising).

    Every token is scored exactly once; an end-of-text token is prepended as context and not scored.
    In folders, hidden files and files that git ignores are skipped. Non-text files are skipped,
    unless given alone. With --staged, git's index is read and only added lines are judged:
    `--staged --max-rise 3` compares them with the text around them in HEAD.
    """
    _refuse_contradictions(scoring, table)
    page = None if table.html is None else _prepare_page(table.html)
    set_numpy_threads(1)  # the threads take one row each
    limits = Gates.of(gates, staged=staged)
    found = find_model(model.model)
    limits.check_model(found.name)
    notes = Notes(quiet=table.quiet, verbose=table.verbose)
    texts = find_texts(
        paths or [], notes, command="score", staged=staged, ignore=not table.no_ignore
    )
    if page is not None and not staged:
        texts = _without_page(texts, page.file)
    if not texts and not staged:
        notes.note("no files to score")
    choice = allowed_server(server.server, offline=table.offline)
    remote = choice is not None and choice.startswith(SCHEMES)
    if remote:  # a remote engine's results are not cached as this machine's
        table = replace(table, no_cache=True)
    run = ScoreRun(
        options=scoring,
        gates=limits,
        table=table,
        notes=notes,
        found=found,
        model=model,
        page=page,
    )
    if gates.max_rise is not None and not limits.compare:
        notes.note("--max-rise: nothing is compared without --baseline FILE or --staged")

    def load() -> "TextScorer":
        if remote:
            from bigcode_cli.server.client.remote_scorer import RemoteTextScorer

            return RemoteTextScorer(str(choice), found, notes, scoring.jobs)
        here = partial(load_text_scorer, found, model, notes)
        served = ServedModel(found, model, choice)
        return judging_model("score", served, notes, here)  # type: ignore[no-any-return]

    totals = run.execute(texts, load)
    if totals.counts["failed"] and table.worst is None and table.format is TableFormat.TEXT:
        # In a git hook there is no command line to add it to.
        call = "run `bigcode score --staged --worst 10`" if staged else "add --worst 10"
        notes.note(f"{call} to see the most surprising lines")
    status = totals.exit_status(strict=gates.strict, exit_zero=gates.exit_zero)
    if status is not ExitStatus.DONE:
        raise typer.Exit(status)


def _prepare_page(file: Path) -> "Page":
    from bigcode_cli.commands.score.html_page import Page

    return Page.prepare(file)


def _without_page(texts: list[Source], page: Path) -> list[Source]:
    """Leave out the page of an earlier run that was found in a folder.

    Raises:
        UsageFailure: it would overwrite a file that was named.
    """
    same = [text for text in texts if text.repeatable and _is_same(text.path, page)]
    if any(text.named for text in same):
        raise UsageFailure(f"--html: {page} is one of the files to score")
    return [text for text in texts if text not in same]


def _is_same(path: str, page: Path) -> bool:
    return os.path.exists(path) and os.path.exists(page) and os.path.samefile(path, page)  # noqa: PTH110, PTH121


def _refuse_contradictions(scoring: ScoringOptions, table: ViewOptions) -> None:
    if scoring.stride is not None and scoring.window is not Windowing.STRIDED:
        raise UsageFailure(f"--stride: does not go with --window {scoring.window}")
    if table.format is TableFormat.CSV and scoring.lines and scoring.tokens:
        raise UsageFailure("--format csv: one table has either --lines or --tokens")
    if table.heatmap and table.format is not TableFormat.TEXT:
        raise UsageFailure(f"--heatmap: is text and does not go with --format {table.format}")
    if table.heatmap and (scoring.lines or scoring.tokens):
        raise UsageFailure("--heatmap: shows lines and tokens itself; drop --lines and --tokens")
    if table.worst is not None and table.format is TableFormat.JSONL:
        raise UsageFailure("--worst: is about all files, and jsonl has no summary; use json or csv")
    if (
        table.worst is not None
        and table.format is TableFormat.CSV
        and (scoring.lines or scoring.tokens)
    ):
        raise UsageFailure("--worst: is a table of its own; drop --lines and --tokens")
