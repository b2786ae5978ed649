"""`bigcode complete`: continues a text.

Knows nothing of how options are parsed or how errors are shown.
"""

from dataclasses import replace

from bigcode_cli import inputs, requests
from bigcode_cli.catalog import find_model
from bigcode_cli.complete.answers import Presenter
from bigcode_cli.complete.drafts import load_draft
from bigcode_cli.complete.prefixes import kept_prefixes
from bigcode_cli.options import (
    Echo,
    GenerationOptions,
    InputFile,
    KeptModelOptions,
    NoHealing,
    OutputFormat,
    ReportOptions,
)
from bigcode_cli.output import Notes


def complete(
    file: InputFile = None,
    *,
    echo: Echo = False,
    no_healing: NoHealing = False,
    generation: GenerationOptions,
    model: KeptModelOptions,
    report: ReportOptions,
) -> None:
    """Continue the text of FILE, or of standard input.

    The completion is written as it arises. An empty text starts a new file.
    A prompt may end anywhere, also inside a word: its last token is spelled anew.
    Several samples are written under headings; use --format json to take them apart.
    """
    requests.set_numpy_threads(model.threads)
    inputs.refuse_unusable(file)
    notes = Notes(quiet=report.quiet, verbose=report.verbose)
    found = find_model(model.model)
    source = inputs.read_text(file, whole=echo)
    options = replace(requests.completion_options(generation, source), heal=not no_healing)
    text_model = requests.load_text_model(found, model, notes)
    load_draft(text_model, generation, model, notes)
    presenter = Presenter(source=source, format=report.format, echo=echo, notes=notes)
    with kept_prefixes(text_model, found, notes, enabled=not generation.no_prefix_cache):
        if report.format is OutputFormat.TEXT and options.samples == 1:
            presenter.stream(text_model.stream(source.text, options))
        else:
            presenter.write(text_model.complete(source.text, options))
