"""`bigcode classify`: which label files have.

Knows nothing of how options are parsed, texts are read or results are shown.
"""

from functools import partial

import typer

from bigcode_cli.commands.classify.gates import LabelGates
from bigcode_cli.commands.classify.options import (
    ClassifierName,
    ClassifyingOptions,
    InputPaths,
    LabelGateOptions,
)
from bigcode_cli.commands.classify.run import ClassifyRun
from bigcode_cli.files.inputs import find_texts
from bigcode_cli.files.options import KeepingOptions
from bigcode_cli.framework.errors import ExitStatus
from bigcode_cli.framework.options import ComputeOptions, ServerOptions
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.load import introduce, load_text_classifier, set_numpy_threads
from bigcode_cli.models.resolve import BUILT_IN_CLASSIFIER, find_model
from bigcode_cli.server.client.judging import WarmClassifier
from bigcode_cli.server.client.warm import ServedModel, warm_model


def classify(  # noqa: PLR0913  # one dataclass for each group of options
    paths: InputPaths = None,
    *,
    classifying: ClassifyingOptions,
    gates: LabelGateOptions,
    classify_model: ClassifierName = None,
    compute: ComputeOptions,
    server: ServerOptions,
    table: KeepingOptions,
) -> None:
    """Tell which label files have: with the built-in model, their programming language.

    Folders are searched, without hidden files and files that git ignores. A long file is read in
    windows, whose logits are averaged by their tokens. Of several labels that do not exclude each
    other those of 0.5 and more hold. A model with a single output gives a number. What is no text
    is skipped, unless it is the only file.
    """
    set_numpy_threads(1)  # the threads take one row each
    found = find_model(classify_model, built_in=BUILT_IN_CLASSIFIER)
    notes = Notes(quiet=table.quiet, verbose=table.verbose)
    texts = find_texts(paths or [], notes, command="classify", ignore=not table.no_ignore)
    if not texts:
        notes.note("there are no files here")
    if classify_model is None:
        introduce(found.name, notes)
    limits = LabelGates.of(gates)
    run = ClassifyRun(
        options=classifying, gates=limits, table=table, notes=notes, found=found, compute=compute
    )
    served = ServedModel(found, compute, server.server)
    load = partial(load_text_classifier, found, compute, notes)
    status = run.execute(texts, partial(warm_model, WarmClassifier, served, notes, load))
    if status is ExitStatus.FINDINGS and gates.exit_zero:
        status = ExitStatus.DONE
    if status is not ExitStatus.DONE:
        raise typer.Exit(status)
