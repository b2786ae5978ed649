"""The files in git's index that differ from the last commit, and which of their lines are new.

Everything is read by object id, so that no name can be taken for something else and the work tree
does not matter. Knows nothing of what is done with the files.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import BinaryIO

from bigcode_cli.failures import Failure
from bigcode_cli.git.process import git_failure, run_git, start_git
from bigcode_cli.texts.sources import MAX_BYTES, Source

ALL_LINES = (range(1, sys.maxsize),)
_FILE_MODES = frozenset({b"100644", b"100755"})
_LIST = (
    *("diff", "--cached", "--raw", "-z", "--no-abbrev", "--find-renames", "--no-relative"),
    *("--diff-filter=ACMRTU", "--no-ext-diff", "--no-textconv", "--no-color", "-O/dev/null"),
)
_COMPARE = (
    *("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--text", "--unified=0"),
    *("--inter-hunk-context=0", "--diff-algorithm=histogram"),
)
_HUNK = re.compile(rb"@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True)
class StagedFile:
    """An entry of the index that is a file.

    Attributes:
        path: its name from the top of the repository, as the system spells it.
        blob: the id of its content.
        before: the id of the content that it replaces; None for a new file.
    """

    path: str
    blob: str
    before: str | None


def staged_sources(paths: Sequence[str]) -> list[Source]:
    """What is staged and has new lines, as texts of which only these are judged.

    Args:
        paths: only these files and what is in these folders; none: everything.

    Raises:
        Failure: `git`: not a repository, or git failed; `unmerged`: a merge is not finished.
    """
    run_git("rev-parse", "--git-dir")  # outside a repository, diff explains itself for pages
    names = ["--", *paths] if paths else []
    files = parse_raw(run_git(*_LIST, *names))
    sources = []
    for file in files:
        added = ALL_LINES if file.before is None else added_lines(file.before, file.blob)
        if added:
            opened = partial(_open_blob, file.blob)
            sources.append(Source(path=file.path, open=opened, added=added))
    return sources


def parse_raw(output: bytes) -> list[StagedFile]:
    """Read the output of `git diff --raw -z`, without links, submodules and deletions.

    Raises:
        Failure: `unmerged`.
    """
    fields = iter(output.split(b"\0"))
    files = []
    for field in fields:
        if not field:
            continue
        old_mode, mode, before, blob, status = field.removeprefix(b":").split(b" ")
        name = next(fields)
        if status[:1] in b"RC":
            name = next(fields)  # the new name stands behind the old one
        path = os.fsdecode(name)
        if status == b"U":
            raise Failure("unmerged", f"{path}: the merge is not finished")
        if mode in _FILE_MODES:
            known = old_mode in _FILE_MODES
            files.append(StagedFile(path, blob.decode(), before.decode() if known else None))
    return files


def added_lines(before: str, blob: str) -> tuple[range, ...]:
    """Ranges of the line numbers of `blob`, from 1, that `before` does not have."""
    if before == blob:
        return ()
    return tuple(_added(run_git(*_COMPARE, before, blob)))


def _added(patch: bytes) -> Iterator[range]:
    """Ranges of added lines in a patch without context."""
    left = 0  # lines of the hunk that are still to come: they may look like anything
    for line in patch.split(b"\n"):
        if left:
            left -= line.startswith(b"+")
        elif found := _HUNK.match(line):
            start, left = int(found[1]), int(found[2] or 1)
            if left:
                yield range(start, start + left)


def _open_blob(blob: str) -> BinaryIO:
    """The content of an object.

    Raises:
        Failure: `too-large`; `git`: it is not there.
    """
    with start_git(["cat-file", "--batch"], stdin=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise Failure("git", "no pipes to git")
        process.stdin.write(f"{blob}\n".encode())
        process.stdin.close()
        header = process.stdout.readline().split()
        if len(header) != 3 or header[1] != b"blob":  # noqa: PLR2004  # id, type, size
            process.kill()
            raise git_failure(process.stderr.read() or b"object %s is not here" % blob.encode())
        size = int(header[2])
        if size > MAX_BYTES:
            process.kill()
            raise Failure("too-large", f"more than {MAX_BYTES // 10**6} MB")
        data = process.stdout.read(size)
        if len(data) != size:
            raise git_failure(process.stderr.read())
        return BytesIO(data)
