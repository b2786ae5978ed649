"""The model of a call: one that a server has in memory, or one that is loaded here."""

from functools import partial
from typing import TYPE_CHECKING, Any

from bigcode_cli.framework.options import GenerationOptions, KeptModelOptions
from bigcode_cli.framework.output import Notes
from bigcode_cli.io.caches import cache_folder
from bigcode_cli.models.load import introduce, load_text_model
from bigcode_cli.models.resolve import BUILT_IN, Found
from bigcode_cli.server.paths import SCHEMES, ServedModel, is_server_wanted

if TYPE_CHECKING:
    from gpt_bigcode.completion.text_model import TextModel


def open_text_model(
    found: Found,
    options: KeptModelOptions,
    server: str | None,
    generation: GenerationOptions,
    notes: Notes,
) -> Any:
    """Ask a server for the model if one may be asked, else load it, with its draft model.

    Returns:
        A `TextModel`, or one of its twins `WarmTextModel` and `RemoteTextModel`.
    """

    def load() -> "TextModel":
        draft = None
        if generation.draft is not None:
            from bigcode_cli.commands.complete.draft_model import load_draft

            draft = load_draft(generation, options, notes)
        folder = None if generation.no_prefix_cache else cache_folder("prefixes")
        if folder is not None and not folder.is_absolute():
            folder = None  # it would be in the current directory
        return load_text_model(found, options, notes, draft=draft, prefix_cache=folder)

    if server is not None and server.startswith(SCHEMES):
        from bigcode_cli.server.client.remote import RemoteTextModel

        return RemoteTextModel(server, found, notes)
    if generation.draft is not None or not is_server_wanted(server, notes):
        return load()
    from bigcode_cli.server.client.warm import warm_model
    from bigcode_cli.server.client.writing import WarmTextModel

    kind = partial(WarmTextModel, cache=not generation.no_prefix_cache)
    model = warm_model(kind, ServedModel(found, options, server), notes, load)
    if isinstance(model, WarmTextModel) and options.model is None:
        introduce(BUILT_IN, notes)
    return model
