"""Expands the names on a command line: folders are searched for files.

In a git work tree git says what is ignored; elsewhere the .gitignore files do. Hidden files,
symbolic links and special files in folders are left out, as by other tools that search source code;
each of them is read if it is named.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from bigcode_cli.files.git_files import (
    Listing,
    is_ignored,
    list_files,
    tracked_files,
    user_rules,
)
from bigcode_cli.files.ignore_rules import IgnoreRules, read_rules
from bigcode_cli.files.sources import Source, file_source, repository_top
from bigcode_cli.framework.errors import Failure
from bigcode_cli.io.standard_input import STANDARD_INPUT

_RULES_FILE = ".gitignore"
_GIT_FOLDER = b".git"


def find_sources(
    paths: Iterable[Path],
    *,
    hidden: bool = False,
    ignore: bool = True,
    note: Callable[[str], None] | None = None,
) -> Iterator[Source]:
    """Yield the texts named on a command line, each file once.

    Args:
        paths: the names.
        hidden: include hidden files in folders, except .git.
        ignore: leave out files that git ignores.
        note: told about problems with git.
    """
    walk = _Walk(hidden=hidden, ignore=ignore, note=note or _nothing)
    seen: set[tuple[int, int] | str] = set()
    for path in map(str, paths):
        if path != STANDARD_INPUT and os.path.isdir(path):  # noqa: PTH112  # never raises
            texts = walk.sources(path)
        else:
            texts = iter([file_source(path)])
        for text in texts:
            key = _identity(text.path)
            if key not in seen:
                seen.add(key)
                yield text


def _identity(path: str) -> tuple[int, int] | str:
    """Return a key that is the same for all spellings of a name, but not for hard links."""
    if path == STANDARD_INPUT:
        return path
    with contextlib.suppress(OSError, ValueError):
        status = os.stat(path)  # noqa: PTH116  # any bytes
        alone = status.st_nlink == 1
        return (status.st_dev, status.st_ino) if alone else os.path.realpath(path)
    return path


@dataclass(frozen=True)
class _Rules:
    """The rules for the contents of a folder.

    Attributes:
        name: the folder, relative to the topmost one that has rules, with a slash at its end; the
            topmost one itself is empty.
        files: from the nearest to the farthest, with the length of the name of their folder.
    """

    name: bytes = b""
    files: tuple[tuple[int, IgnoreRules], ...] = ()

    def within(self, folder: str) -> "_Rules":
        """Return these rules and those of the folder itself."""
        found = read_rules(os.path.join(folder, _RULES_FILE))  # noqa: PTH118  # any bytes
        files = ((len(self.name), found), *self.files) if len(found) else self.files
        return _Rules(self.name, files)

    def below(self, name: bytes, folder: str) -> "_Rules":
        """Return the rules for a folder in this one."""
        return _Rules(self.name + name + b"/", self.files).within(folder)

    def ignore(self, name: bytes, *, is_folder: bool) -> bool:
        """Tell whether an entry of this folder is ignored."""
        path = self.name + name
        for start, rules in self.files:
            decided = rules.decide(path[start:], is_folder=is_folder)
            if decided is not None:
                return decided
        return False

    @classmethod
    def of(cls, folder: str, top: str | None) -> "_Rules":
        """Return the rules for the folder where a walk begins; in a repository, from its top."""
        if top is None:
            return cls().within(folder)
        others = [read_rules(path, follow_links=True) for path in user_rules(top)]
        rules = cls(files=tuple((0, one) for one in others)).within(top)
        here = top
        for name in Path(os.path.realpath(folder)).relative_to(top).parts:
            here = os.path.join(here, name)  # noqa: PTH118
            if rules.ignore(os.fsencode(name), is_folder=True):
                return cls().within(folder)  # an ignored folder is searched if it is named
            rules = rules.below(os.fsencode(name), here)
        return rules


@dataclass(frozen=True, kw_only=True)
class _Walk:
    """How folders are searched; see `find_sources`."""

    hidden: bool
    ignore: bool
    note: Callable[[str], None]

    def sources(self, folder: str) -> Iterator[Source]:
        """Yield the files of a folder, then those of its folders, sorted by name."""
        waiting = [self._entries(folder)]
        while waiting:
            for entry in waiting[-1]:
                if isinstance(entry, str):
                    waiting.append(self._entries(entry))
                    break
                yield entry
            else:
                waiting.pop()

    def _entries(self, folder: str) -> Iterator[Source | str]:
        """Return the sorted files of a folder, and the repositories in it."""
        listing = self._listing(folder)
        entries: list[tuple[list[tuple[bool, bytes]], Source | str]] = []
        for name in filter(self._is_wanted, listing.names | listing.unreadable.keys()):
            path = os.path.join(folder, os.fsdecode(name.rstrip(b"/"))) if name else folder  # noqa: PTH118
            if name in listing.unreadable:
                failed = Source(path=path, open=partial(_fail, listing.unreadable[name]))
                entries.append((_order(name, is_folder=True), failed))
                continue
            with contextlib.suppress(OSError):
                mode = os.lstat(path).st_mode  # any bytes
                if stat.S_ISREG(mode):
                    text = file_source(path, named=False)
                    entries.append((_order(name, is_folder=False), text))
                elif stat.S_ISDIR(mode) and _is_repository(path):
                    entries.append((_order(name, is_folder=True), path))
        yield from (entry for _, entry in sorted(entries, key=itemgetter(0)))

    def _is_wanted(self, name: bytes) -> bool:
        parts = name.split(b"/")
        hides = not self.hidden and any(part.startswith(b".") for part in parts)
        return not hides and _GIT_FOLDER not in parts

    def _listing(self, folder: str) -> Listing:
        top = _work_tree(folder) if self.ignore else None
        if top is None:
            return self._list_by_rules(folder, _Rules().within(folder) if self.ignore else None)
        try:
            if not is_ignored(folder, top):
                return list_files(folder)
            tracked = tracked_files(folder).names
        except Failure as failure:
            tracked = self._tracked(folder, failure)
        found = self._list_by_rules(folder, _Rules.of(folder, top))
        return Listing(found.names | tracked, found.unreadable)

    def _tracked(self, folder: str, failure: Failure) -> frozenset[bytes]:
        """Return the tracked files, if git can list at least those."""
        try:
            return tracked_files(folder).names
        except Failure:
            why = f"git cannot list tracked files ({failure})"
            self.note(f"{folder}: {why}: .gitignore counts for every file")
            return frozenset()

    def _list_by_rules(self, folder: str, rules: _Rules | None) -> Listing:
        """List the files below a folder that are not ignored; nested repositories by name only."""
        names: set[bytes] = set()
        unreadable: dict[bytes, str] = {}
        waiting: list[tuple[bytes, _Rules | None]] = [(b"", rules)]
        while waiting:
            start, rules = waiting.pop()
            try:
                entries = list(os.scandir(os.path.join(os.fsencode(folder), start)))  # noqa: PTH118
            except OSError as error:
                unreadable[start] = error.strerror or "cannot be read"
                continue
            for entry in filter(lambda entry: self._is_wanted(entry.name), entries):
                is_folder = entry.is_dir(follow_symlinks=False)
                if rules is not None and rules.ignore(entry.name, is_folder=is_folder):
                    continue
                path = os.fsdecode(entry.path)
                if not is_folder:
                    names.add(start + entry.name)
                elif rules is not None and _is_repository(path):
                    names.add(start + entry.name + b"/")
                else:
                    inner = None if rules is None else rules.below(entry.name, path)
                    waiting.append((start + entry.name + b"/", inner))
        return Listing(frozenset(names), unreadable)


def _work_tree(folder: str) -> str | None:
    """Return the top of the work tree around a folder; None inside of .git."""
    top = repository_top(folder)
    if top is None or f"{os.path.realpath(folder)}/".startswith(f"{top.rstrip('/')}/.git/"):
        return None
    return top


def _is_repository(folder: str) -> bool:
    return os.path.lexists(os.path.join(folder, os.fsdecode(_GIT_FOLDER)))  # noqa: PTH118


def _order(name: bytes, *, is_folder: bool) -> list[tuple[bool, bytes]]:
    """Sort files before folders."""
    *folders, last = name.rstrip(b"/").split(b"/")
    return [*((True, folder) for folder in folders), (is_folder, last)]


def _nothing(_: str) -> None:
    pass


def _fail(reason: str) -> BinaryIO:
    raise Failure("input", reason)
