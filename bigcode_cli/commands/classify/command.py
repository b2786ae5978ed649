"""`bigcode classify`: labels files."""

from functools import partial

import typer

from bigcode_cli.commands.classify.gates import LabelGates
from bigcode_cli.commands.classify.options import (
    ClassifierName,
    ClassifyingOptions,
    LabelGateOptions,
)
from bigcode_cli.commands.classify.run import ClassifyRun
from bigcode_cli.files.sources import find_texts
from bigcode_cli.framework.errors import ExitStatus
from bigcode_cli.framework.options import ComputeOptions, InputPaths, KeepingOptions, ServerOptions
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.load import introduce, load_text_classifier, set_numpy_threads
from bigcode_cli.models.resolve import find_model
from bigcode_cli.server.paths import ServedModel, judging_model


def classify(  # noqa: PLR0913  # one dataclass for each group of options
    paths: InputPaths = None,
    *,
    classify_model: ClassifierName = None,
    classifying: ClassifyingOptions,
    gates: LabelGateOptions,
    compute: ComputeOptions,
    server: ServerOptions,
    table: KeepingOptions,
) -> None:
    """Detect the programming language of files, or another label that a model was trained on.

    A label whose score is below the model's threshold, or --min-score, is reported as unknown. For
    multi-label models, every label scoring at least 0.5 is reported; a model with a single output
    predicts a number. Long files are split into windows; their logits are averaged, weighted by
    tokens. In folders, hidden files and files that git ignores are skipped. Non-text files are
    skipped, unless given alone.
    """
    set_numpy_threads(1)  # the threads take one row each
    found = find_model(classify_model, command="classify")
    notes = Notes(quiet=table.quiet, verbose=table.verbose)
    texts = find_texts(paths or [], notes, command="classify", ignore=not table.no_ignore)
    if not texts:
        notes.note("no files to classify")
    if classify_model is None:
        introduce(found.name, notes)
    limits = LabelGates.of(gates)
    run = ClassifyRun(
        options=classifying, gates=limits, table=table, notes=notes, found=found, compute=compute
    )
    served = ServedModel(found, compute, server.server)
    load = partial(load_text_classifier, found, compute, notes)
    totals = run.execute(texts, partial(judging_model, "classify", served, notes, load))
    status = totals.exit_status(strict=gates.strict, exit_zero=gates.exit_zero)
    if status is not ExitStatus.DONE:
        raise typer.Exit(status)
