"""The folder in which the beginnings of prompts are kept for the next call.

Knows nothing of what is in it. It holds no text and no token, but keys and values, from which a
determined reader who has the model could tell the text: so the folder is its owner's alone, and
`--no-prefix-cache` does without it.
"""

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bigcode_cli.framework.output import Notes
from bigcode_cli.models.resolve import Found

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpt_bigcode.completion.text_model import TextModel


def prefix_folder() -> Path:
    """Return where they are kept, whether it exists or not."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("bigcode", appauthor=False)) / "prefixes"


@contextmanager
def kept_prefixes(
    model: "TextModel", found: Found, notes: Notes, *, enabled: bool
) -> "Iterator[None]":
    """Let a model begin with what is kept of the prompt, and keep the rest when all is shown."""
    if not hasattr(model, "decoder"):
        yield  # a server has the model, and keeps prompts itself
        return
    from gpt_bigcode.backends.interfaces import BlockDecoder
    from gpt_bigcode.checkpoint.weights_id import weights_id
    from gpt_bigcode.generation.prefix_cache import PrefixDecoder, prefix_cache

    folder = prefix_folder()
    # A relative path would mean the current directory.
    if not enabled or not folder.is_absolute() or not isinstance(model.decoder, BlockDecoder):
        yield
        return
    weights = ""
    with suppress(OSError):
        weights = weights_id(found.directory)
    if not weights:
        yield
        return
    decoder = PrefixDecoder(model.decoder, prefix_cache(folder), weights)
    model.decoder = decoder
    yield
    if decoder.reused_tokens:
        reused = f"{decoder.reused_tokens} tokens of the prompt were kept from an earlier call"
        notes.detail(f"{reused}; --no-prefix-cache reads them anew")
    decoder.save()
