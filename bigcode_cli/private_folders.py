"""Makes folders that nobody else may change, whatever the umask.

Knows nothing of what is in them.
"""

import os
from pathlib import Path

_MINE = 0o700


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are not there, for the user alone."""
    if folder.is_dir():
        return
    if folder != folder.parent:
        make_private_folder(folder.parent)
    try:
        folder.mkdir(mode=_MINE)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    folder.chmod(_MINE)  # a umask of 0777 would lock us out


def readable_mode(*, executable: bool = False) -> int:
    """Return the mode for a file or folder that others may read as far as the umask lets them."""
    umask = os.umask(0o077)
    os.umask(umask)
    ours, others = (0o700, 0o055) if executable else (0o600, 0o044)
    return ours | (others & ~umask)
