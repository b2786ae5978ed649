"""The one name of a file, however its path is spelled."""

import os
from dataclasses import dataclass, replace

from bigcode_cli.files.sources import STANDARD_INPUT


@dataclass(frozen=True)
class FileNames:
    """Names files relative to a folder, such as that of a baseline; links are resolved.

    Attributes:
        folder: the folder, with links resolved; see `beside`.
        root: what relative paths start from; "" is the current folder.
    """

    folder: str
    root: str = ""

    @classmethod
    def beside(cls, file: str | os.PathLike[str]) -> "FileNames":
        """Name files relative to the folder in which `file` is listed."""
        return cls(os.path.realpath(os.path.dirname(os.path.abspath(file))))  # noqa: PTH100, PTH120

    def within(self, root: str) -> "FileNames":
        """The same names, for paths that start from another folder than the current one."""
        return replace(self, root=root)

    def of(self, path: str) -> str:
        """The name of a file: one for `a.py`, `./a.py`, its absolute path and a link to it."""
        if path == STANDARD_INPUT:
            return path
        full = os.path.realpath(os.path.join(self.root, path))  # noqa: PTH118  # any bytes
        return os.path.relpath(full, self.folder)


def repository_top(folder: str) -> str | None:
    """The top folder of the git work tree that a folder lies in, links resolved; None outside."""
    try:
        here = os.path.realpath(folder)
    except OSError:  # the current folder has been removed
        return None
    while not os.path.lexists(os.path.join(here, ".git")):  # noqa: PTH118  # any bytes
        if here == (above := os.path.dirname(here)):  # noqa: PTH120
            return None
        here = above
    return here
