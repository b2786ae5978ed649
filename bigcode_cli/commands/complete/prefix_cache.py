"""The cache of beginnings of prompts, for the next call.

It holds keys and values, from which somebody with the model could reconstruct the text: so the
folder is private, and `--no-prefix-cache` turns it off.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from bigcode_cli.framework.output import Notes

if TYPE_CHECKING:
    from gpt_bigcode.completion.text_model import TextModel


def prefix_folder() -> Path:
    """Return the folder, whether it exists or not."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("bigcode", appauthor=False)) / "prefixes"


def usable_prefix_folder(*, enabled: bool) -> Path | None:
    """Return the folder; None if it is turned off, or relative to the current directory."""
    folder = prefix_folder()
    return folder if enabled and folder.is_absolute() else None


def note_reuse(model: "TextModel", notes: Notes) -> None:
    """Say under --verbose how much of the prompt came from the cache; a server keeps its own."""
    reused = getattr(model, "reused_tokens", 0)
    if reused:
        notes.detail(f"prompt cache: {reused} tokens reused")
