"""`bigcode complete`: continues a text."""

from bigcode_cli.commands.complete.presenter import Presenter, note_reuse, note_useless
from bigcode_cli.commands.complete.warm import open_text_model
from bigcode_cli.framework.options import (
    Echo,
    GenerationOptions,
    InputFile,
    KeptModelOptions,
    OutputFormat,
    ReportOptions,
    ServerOptions,
)
from bigcode_cli.framework.output import Notes
from bigcode_cli.io import text_input
from bigcode_cli.models.load import (
    completion_options,
    left_of_budget,
    set_numpy_threads,
)
from bigcode_cli.models.resolve import find_model
from bigcode_cli.server.paths import allowed_server


def complete(  # one dataclass for each group of options
    file: InputFile = None,
    *,
    generation: GenerationOptions,
    echo: Echo = False,
    model: KeptModelOptions,
    server: ServerOptions,
    report: ReportOptions,
) -> None:
    """Continue the text of FILE or standard input.

    Output is streamed. Empty input starts a new file. The prompt may end mid-word; its last token
    is regenerated (token healing). Several samples are printed under headings; use --format json
    to process them.
    """
    set_numpy_threads(model.threads)
    text_input.refuse_unusable(file)
    notes = Notes(quiet=report.quiet, verbose=report.verbose)
    found = find_model(model.model)
    source = text_input.read_text(file, whole=echo)
    options = completion_options(generation, source)
    choice = allowed_server(server.server, offline=report.offline)
    text_model = open_text_model(found, model, choice, generation, notes)
    presenter = Presenter(source=source, format=report.format, echo=echo, notes=notes)
    note_useless(options, notes)
    options = left_of_budget(options)
    if report.format is OutputFormat.TEXT and options.samples == 1:
        presenter.stream(text_model.stream(source.text, options))
    else:
        presenter.write(text_model.complete(source.text, options))
    note_reuse(text_model, notes)
