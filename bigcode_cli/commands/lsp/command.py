"""`bigcode lsp`: a language server on standard input and output."""

import os
from dataclasses import dataclass
from typing import Annotated

from bigcode_cli.framework.option_types import switch, whole
from bigcode_cli.framework.options import (
    ComputeOptions,
    GeneratorName,
    LoudnessOptions,
    ServerOptions,
)
from bigcode_cli.framework.output import Notes
from bigcode_cli.io.standard_input import refuse_terminal
from bigcode_cli.models.load import set_numpy_threads
from bigcode_cli.models.resolve import find_model

FEATURES = "Features"


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """What the language server offers."""

    completion_tokens: Annotated[
        int, whole("Maximum number of tokens of a completion.", 1, 2048, panel=FEATURES)
    ] = 64
    no_secrets: Annotated[
        bool,
        switch("Do not warn about personal data and secrets.", "--no-secrets", panel=FEATURES),
    ] = False
    surprises: Annotated[
        bool,
        switch("Mark the lines that surprise the model most.", "--surprises", panel=FEATURES),
    ] = False


def lsp(
    *,
    model: GeneratorName = None,
    features: FeatureOptions,
    compute: ComputeOptions,
    server: ServerOptions,
    messages: LoudnessOptions,
) -> None:
    """Run a language server for editors on standard input and output.

    Offers inline completion (LSP 3.18), completion, warnings about secrets, and code actions. Uses
    a running `bigcode serve`, else loads the model itself.
    """
    refuse_terminal(hint="editors start bigcode lsp; see the manual")
    set_numpy_threads(compute.threads)
    find_model(model)
    from bigcode_cli.lsp.models import Models
    from bigcode_cli.lsp.server import Features, build_server

    notes = Notes(quiet=messages.quiet, verbose=messages.verbose)
    models = Models(name=model, compute=compute, server=server.server, notes=notes)
    offered = Features(
        max_tokens=features.completion_tokens,
        secrets=not features.no_secrets,
        surprises=features.surprises,
    )
    said = open(os.dup(1), "wb")  # noqa: PTH123, SIM115  # the protocol closes it
    os.dup2(2, 1)  # nothing else may come between messages
    heard = open(os.dup(0), "rb")  # noqa: PTH123, SIM115
    build_server(models, offered).start_io(heard, said)
