"""The cache of beginnings of prompts, for the next call.

It holds keys and values, from which somebody with the model could reconstruct the text: so the
folder is private, and `--no-prefix-cache` turns it off.
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
    """Return the folder, whether it exists or not."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("bigcode", appauthor=False)) / "prefixes"


@contextmanager
def kept_prefixes(
    model: "TextModel", found: Found, notes: Notes, *, enabled: bool
) -> "Iterator[None]":
    """Let a model reuse the cached beginning of the prompt, and cache the rest afterwards."""
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
        notes.detail(f"prompt cache: {decoder.reused_tokens} tokens reused")
    decoder.save()
