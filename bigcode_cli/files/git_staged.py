"""Reads staged files through git; changes nothing, and runs no program of the repository."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import BinaryIO

from bigcode_cli.files.sources import MAX_BYTES, Source
from bigcode_cli.framework.errors import Failure

# No file system monitor and no replaced objects; names are names, not patterns; no lock is taken.
_GIT = (
    *("git", "--no-pager", "--no-optional-locks", "--no-replace-objects", "--literal-pathspecs"),
    *(
        "-c",
        "core.fsmonitor=false",
        "-c",
        "core.quotePath=true",
        "-c",
        "diff.ignoreSubmodules=none",
    ),
)
# Everything else that git put into a hook's environment is kept: it says where the index is.
_DROPPED = frozenset({"GIT_DIFF_OPTS", "GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_TRACE"})
_LOCATION = frozenset(
    {
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"),
        *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE"),
    }
)
_LONGEST_REASON = 200


def start_git(
    arguments: Sequence[str], *, stdin: int = subprocess.DEVNULL, located: bool = True
) -> subprocess.Popen[bytes]:
    """Start a git command and stream its output.

    Args:
        arguments: of git.
        stdin: see `subprocess`.
        located: whether to keep the variables that say where the repository is.

    Raises:
        Failure: `git`: there is no git.
    """
    dropped = _DROPPED if located else _DROPPED | _LOCATION
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    # Objects of a partial clone that are not here are not fetched: this program uses no network.
    environment |= {"LC_ALL": "C", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.Popen(
            [*_GIT, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        raise Failure("git", f"git cannot be started: {error.strerror}") from None


def run_git(*arguments: str) -> bytes:
    """Run a git command and return its output.

    Raises:
        Failure: `git`: it failed; its first sentence says why.
    """
    process = start_git(arguments)
    output, complaint = process.communicate()
    if process.returncode:
        raise git_failure(complaint)
    return output


def git_failure(complaint: bytes) -> Failure:
    """Make the error from git's message."""
    lines = complaint.decode("utf-8", "replace").strip().splitlines() or ["it gave no reason"]
    reason = lines[0].removeprefix("fatal: ").removeprefix("error: ")
    return Failure("git", reason[:_LONGEST_REASON])


def top_folder() -> str:
    """Return the top of the work tree, to which the names of staged files are relative.

    Raises:
        Failure: `git`: not a repository.
    """
    return os.fsdecode(run_git("rev-parse", "--show-toplevel").removesuffix(b"\n"))


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
_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True)
class StagedFile:
    """A file in the index.

    Attributes:
        path: its name from the top of the repository, as the system spells it.
        blob: the id of its content.
        before: the id of the content that it replaces; None for a new file.
    """

    path: str
    blob: str
    before: str | None


def staged_sources(paths: Sequence[str]) -> list[Source]:
    """List staged files with added lines; only those lines are judged.

    Args:
        paths: only these files and what is in these folders; none: everything. One that is neither
            here nor in git's index or HEAD is listed too, and cannot be read.

    Raises:
        Failure: `git`: not a repository, or git failed; `unmerged`: a merge is not finished.
    """
    run_git("rev-parse", "--git-dir")  # outside a repository, diff prints pages of usage
    names = ["--", *paths] if paths else []
    files = parse_raw(run_git(*_LIST, *names))
    sources = []
    for file in files:
        if file.before is None:
            sources.append(replace(_blob_source(file.path, file.blob), added=ALL_LINES))
        elif changed := changed_lines(file.before, file.blob):
            added, replaced = zip(*changed, strict=True)
            past = replace(_blob_source(file.path, file.before), added=replaced)
            sources.append(replace(_blob_source(file.path, file.blob), added=added, past=past))
    missing = [path for path in paths if not _is_known(path)]
    return [*sources, *(Source(path=path, open=_open_nothing) for path in missing)]


def _is_known(path: str) -> bool:
    """Whether a name is that of something, also of what git is about to delete."""
    if os.path.lexists(path):  # any bytes
        return True
    listings = (("ls-files", "--cached"), ("diff", "--cached", "--name-only"))
    return any(run_git(*listing, "--", path) for listing in listings)


def _open_nothing() -> BinaryIO:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _blob_source(path: str, blob: str) -> Source:
    """Make a text of an object; a binary one is skipped even alone, because nobody named it."""
    return Source(path=path, open=partial(_open_blob, blob), named=False)


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
            name = next(fields)  # the new name follows the old one
        path = os.fsdecode(name)
        if status == b"U":
            raise Failure("unmerged", f"{path}: the merge is not finished")
        if mode in _FILE_MODES:
            known = old_mode in _FILE_MODES
            files.append(StagedFile(path, blob.decode(), before.decode() if known else None))
    return files


def changed_lines(before: str, blob: str) -> tuple[tuple[range, range], ...]:
    """Return the ranges of lines of `blob`, from 1, that are not in `before`, and their places.

    Each range is paired with one of `before`: the lines that it replaces, or its two neighbours.
    """
    if before == blob:
        return ()
    return tuple(_changed(run_git(*_COMPARE, before, blob)))


def _changed(patch: bytes) -> Iterator[tuple[range, range]]:
    """Read the ranges of added lines from a patch without context, and of those they replace."""
    left = 0  # lines left in the hunk, which may look like a header
    for line in patch.split(b"\n"):
        if left:
            left -= line.startswith(b"+")
        elif found := _HUNK.match(line):
            place, gone, start = int(found[1]), int(found[2] or 1), int(found[3])
            left = int(found[4] or 1)
            if left:
                old = range(place, place + gone) if gone else range(max(place, 1), place + 2)
                yield range(start, start + left), old


def _open_blob(blob: str) -> BinaryIO:
    """Read the content of an object.

    Raises:
        Failure: `too-large`; `git`: it is not there.
    """
    with start_git(["cat-file", "--batch"], stdin=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise Failure("git", "no pipes to git")
        process.stdin.write(f"{blob}\n".encode())
        process.stdin.close()
        header = process.stdout.readline().split()
        if len(header) != 3 or header[1] != b"blob":  # id, type, size
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
