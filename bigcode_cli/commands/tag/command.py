"""`bigcode tag`: find personal data and secrets in files, or redact them."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bigcode_cli.commands.tag.options import (
    FindingOptions,
    RedactionOptions,
    SilencingOptions,
    TagFormat,
    TagModelOptions,
    TagTableOptions,
)
from bigcode_cli.commands.tag.scrub_errors import scrub_errors
from bigcode_cli.files.sources import Source, find_texts
from bigcode_cli.framework.errors import ExitStatus, Failure, UsageFailure
from bigcode_cli.framework.options import InputPaths, ServerOptions, Staged
from bigcode_cli.framework.output import Notes
from bigcode_cli.io.standard_input import STANDARD_INPUT
from bigcode_cli.models.load import introduce, load, set_numpy_threads
from bigcode_cli.models.resolve import BUILT_IN_TAGGER, Found, find_model
from bigcode_cli.server.paths import ServedModel, judging_model

if TYPE_CHECKING:
    from bigcode_cli.commands.tag.run import TagRun
    from gpt_bigcode.labeling.options import TagOptions
    from gpt_bigcode.labeling.text_tagger import TextTagger


def tag(  # noqa: PLR0913  # one dataclass for each group of options
    paths: InputPaths = None,
    *,
    staged: Staged = False,
    finding: FindingOptions,
    silencing: SilencingOptions,
    redaction: RedactionOptions,
    model: TagModelOptions,
    server: ServerOptions,
    table: TagTableOptions,
) -> None:
    """Find personal data and secrets in files, or redact them.

    Findings are reported with their masked line and a fingerprint, never with their text, and make
    the exit status 1. To ignore a false positive, add a comment to its line: `bigcode: allow`,
    `pragma: allowlist secret` or `gitleaks:allow`; or to the line before: `bigcode:
    allow-next-line` or `pragma: allowlist nextline secret`. Declared authors, as in a copyright
    line, are ignored unless --labels asks for them. Folders are searched with hidden files and
    without files that git ignores. --redact writes one text to standard output, where comments have
    no effect.
    """
    _refuse_contradictions(paths or [], silencing, redaction, staged=staged, table=table)
    set_numpy_threads(1)  # the threads take one row each
    with scrub_errors():
        run = _run(finding, silencing, table, staged=staged)
        found = find_model(model.tag_model, command="tag")
        served = ServedModel(found, model, server.server)
        here = partial(_load, found, model, run.notes)
        load = partial(judging_model, "tag", served, run.notes, here)
        if redaction.redact and not redaction.in_place:
            (text,) = find_texts(paths or [], run.notes, command="tag")
            # A server answers at the end of the text, for which a pipe does not wait.
            waits = text.repeatable or server.server is not None
            run.filter(text, load if waits else here)
            return
        texts = _texts(paths or [], run, staged=staged, ignore=not table.no_ignore)
        act = run.rewrite if redaction.in_place else run.search
        totals = act(texts, load)
    silent = finding.exit_zero or silencing.update_baseline
    status = totals.exit_status(strict=finding.strict, exit_zero=silent)
    if status is not ExitStatus.DONE:
        raise typer.Exit(status)


def _refuse_contradictions(
    paths: Sequence[Path],
    silencing: SilencingOptions,
    redaction: RedactionOptions,
    *,
    staged: bool,
    table: TagTableOptions,
) -> None:
    """Refuse options that conflict, before anything is read."""
    standard_input = not paths or STANDARD_INPUT in map(str, paths)
    if redaction.in_place and not redaction.redact:
        raise UsageFailure("--in-place: needs --redact")
    if redaction.redact and (staged or silencing.update_baseline):
        other = "--staged" if staged else "--update-baseline"
        raise UsageFailure(f"--redact: does not go with {other}")
    if silencing.update_baseline and silencing.tag_baseline is None:
        raise UsageFailure("--update-baseline: needs --baseline FILE")
    if silencing.update_baseline and staged:
        raise UsageFailure(
            "--update-baseline: does not go with --staged, which sees added lines only"
        )
    if redaction.in_place and standard_input:
        raise UsageFailure("--in-place: needs a PATH; standard input cannot be written")
    if redaction.redact and not redaction.in_place:
        _check_filter(paths, table)


def _check_filter(paths: Sequence[Path], table: TagTableOptions) -> None:
    if len(paths) > 1 or any(map(os.path.isdir, paths)):
        raise UsageFailure("--redact: writes one text, so give one file, or use --in-place")
    if table.format is not TagFormat.TEXT:
        raise UsageFailure(
            f"--redact: writes the text itself and does not go with --format {table.format}"
        )


def _run(
    finding: FindingOptions,
    silencing: SilencingOptions,
    table: TagTableOptions,
    *,
    staged: bool,
) -> "TagRun":
    from bigcode_cli.commands.tag.baselines import Baseline
    from bigcode_cli.commands.tag.fingerprints import DEFAULT_SALT, Fingerprints
    from bigcode_cli.commands.tag.suppressions import Allowances
    from bigcode_cli.files.git_staged import top_folder

    allowances = Allowances.of(silencing.allow or [], silencing.exclude or [])
    baseline = None
    if silencing.tag_baseline is not None:
        baseline = Baseline.read(
            silencing.tag_baseline, salt=silencing.salt, create=silencing.update_baseline
        )
        # What is staged is named from the top of the repository.
        baseline = baseline.within(top_folder()) if staged else baseline
    salt = silencing.salt or (DEFAULT_SALT if baseline is None else baseline.salt)
    options = _tag_options(finding)
    from bigcode_cli.commands.tag.run import TagRun

    return TagRun(
        options=options,
        allowances=allowances,
        baseline=baseline,
        fingerprints=Fingerprints(salt),
        format=table.format,
        update=silencing.update_baseline,
        notes=Notes(quiet=table.quiet, verbose=table.verbose),
    )


def _tag_options(finding: FindingOptions) -> "TagOptions":
    """Read --labels and --min-score.

    Raises:
        UsageFailure: a score is not a number from 0 to 1.
    """
    scores: dict[str, float] = {}
    labels = [part.strip() for text in finding.labels or [] for part in text.split(",")]
    names = []
    for text in filter(None, labels):
        name, equals, number = text.partition("=")
        names.append(name)
        if equals:
            try:
                scores[name] = float(number)
            except ValueError:
                scores[name] = -1.0
            if not 0 <= scores[name] <= 1:
                raise UsageFailure(f"--labels: {text!r}: the score is not a number from 0 to 1")
    from gpt_bigcode.labeling.options import TagOptions

    chosen = frozenset(names) if names else None
    return TagOptions(labels=chosen, min_score=finding.min_score, min_scores=scores)


def _texts(paths: list[Path], run: "TagRun", *, staged: bool, ignore: bool) -> list[Source]:
    texts = find_texts(paths, run.notes, command="tag", staged=staged, hidden=True, ignore=ignore)
    if not texts and not staged:
        run.notes.note("no files to search")
    return [text for text in texts if not run.leaves_out(text.path)]


def _load(found: Found, options: TagModelOptions, notes: Notes) -> "TextTagger":
    if options.tag_model is None:
        introduce(BUILT_IN_TAGGER, notes)
    from gpt_bigcode.errors import CheckpointMismatchError
    from gpt_bigcode.labeling.text_tagger import TextTagger

    try:
        return load(TextTagger.load, found, options, notes)
    except CheckpointMismatchError as error:
        hint = error.hint or "bigcode models list shows which models can tag"
        raise Failure(error.slug, f"{found.name}: {error}", hint=hint) from None
