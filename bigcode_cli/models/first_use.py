"""Remembers for a day that the built-in model was introduced to the user."""

import os
import time
from contextlib import suppress

from bigcode_cli.framework.settings import state_folder
from bigcode_cli.io.atomic_files import make_private_folder

_DAY_SECONDS = 24 * 60 * 60


def is_first_use_today(name: str) -> bool:
    """Tell whether this is the first use within a day; always, without a folder for state.

    Args:
        name: what was used, as part of a file name.
    """
    folder = state_folder()
    if not folder.is_absolute():
        return True
    mark = folder / f"introduced-{name}"
    with suppress(OSError):
        if 0 <= time.time() - mark.lstat().st_mtime < _DAY_SECONDS:
            return False
    with suppress(OSError):
        make_private_folder(folder)
        handle = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            os.utime(handle)
        finally:
            os.close(handle)
    return True
