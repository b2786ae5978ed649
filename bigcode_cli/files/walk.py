"""The files in folders, without what .gitignore excludes.

Knows nothing of what is in the files. Hidden files, symbolic links and special files are left out,
as by other tools that search source code; whoever names one gets it.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bigcode_cli.files.sources import STANDARD_INPUT, Source, file_source
from bigcode_cli.framework.errors import Failure

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_MOST_RULES_BYTES = 10**6


def find_sources(paths: Iterable[Path], *, hidden: bool = False) -> Iterator[Source]:
    """The texts that are meant by names on a command line, folders in the order of their names.

    Args:
        paths: the names.
        hidden: hidden files in folders are meant too, but not what git keeps to itself.
    """
    for path in map(str, paths):
        if path != STANDARD_INPUT and os.path.isdir(path):  # noqa: PTH112  # never raises
            yield from _walk(path, hidden=hidden)
        else:
            yield file_source(path)


class _Rules:
    """What the .gitignore files of a folder and those above it say; the nearest has the word."""

    def __init__(self, folder: str, above: "_Rules | None" = None) -> None:
        self._folder = folder
        self._above = above
        # What a repository keeps to itself has less weight than its .gitignore: it comes first.
        files = (".gitignore",) if above is not None else (".git/info/exclude", ".gitignore")
        self._spec = _read_rules([Path(folder, name) for name in files])

    @classmethod
    def of(cls, folder: str) -> "_Rules":
        """The rules for a folder that a walk begins in, from the top of its repository on."""
        absolute = Path(os.path.realpath(folder))
        top = next(
            (
                place
                for place in (absolute, *absolute.parents)
                if os.path.exists(place / ".git")  # noqa: PTH110  # never raises
            ),
            absolute,
        )
        rules = cls(str(top))
        for name in absolute.relative_to(top).parts:
            if rules.exclude(f"{name}/"):
                return cls(str(absolute))  # whoever names an excluded folder wants what is in it
            rules = rules.below(name)
        return rules

    def below(self, name: str) -> "_Rules":
        """The rules for a folder in this one."""
        return _Rules(os.path.join(self._folder, name), self)  # noqa: PTH118  # text, not Path

    def exclude(self, name: str) -> bool:
        """Whether an entry of this folder is excluded; the name of a folder ends with a slash."""
        said = None if self._spec is None else self._spec.check_file(name).include
        if said is None and self._above is not None:
            # As the folder above would call it.
            return self._above.exclude(f"{os.path.basename(self._folder)}/{name}")  # noqa: PTH119
        return bool(said)


def _read_rules(paths: Iterable[Path]) -> "GitIgnoreSpec | None":
    lines: list[str] = []
    for path in paths:
        with contextlib.suppress(OSError), path.open("rb") as file:
            data = file.read(_MOST_RULES_BYTES)
            lines += data.decode("utf-8", "surrogateescape").splitlines()
    if not lines:
        return None
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(line for line in lines if _is_rule(line))


def _is_rule(line: str) -> bool:
    """Whether git understands a line; it passes over others in silence."""
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def _walk(folder: str, *, hidden: bool) -> Iterator[Source]:
    waiting: list[tuple[str, _Rules]] = [(folder, _Rules.of(folder))]
    while waiting:
        here, rules = waiting.pop()
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            yield Source(path=here, open=partial(_fail, error.strerror or "cannot be read"))
            continue
        folders = []
        for entry in entries:
            if entry.name == ".git" or (entry.name.startswith(".") and not hidden):
                continue
            if entry.is_dir(follow_symlinks=False):
                if not rules.exclude(f"{entry.name}/"):
                    folders.append((entry.path, rules.below(entry.name)))
            elif entry.is_file(follow_symlinks=False) and not rules.exclude(entry.name):
                yield file_source(entry.path, named=False)
        waiting += reversed(folders)


def _fail(reason: str) -> BinaryIO:
    raise Failure("input", reason)
