"""Asks git which files of a folder are tracked or ignored."""

import contextlib
import os
import re
import subprocess
from dataclasses import dataclass

from bigcode_cli.files.git_staged import git_failure, start_git
from bigcode_cli.framework.errors import Failure

WAIT_SECONDS = 2.0
"""Time limit for git: a .gitignore that is a named pipe would block it forever."""

_LIST = ("ls-files", "-z", "--cached")
_UNREADABLE = re.compile(rb"warning: could not open directory '(.+?)/?': (.+)")


@dataclass(frozen=True)
class Listing:
    """Git's answer for a folder.

    Attributes:
        names: its files, relative to it, also those in folders below; a repository in it is only
            named, like a file or with a slash at its end.
        unreadable: folders that could not be read, and why.
    """

    names: frozenset[bytes]
    unreadable: dict[bytes, str]


def list_files(folder: str) -> Listing:
    """List the files of a folder that git does not ignore, tracked or new.

    Raises:
        Failure: `git` is missing, refuses this repository, or takes too long.
    """
    return _listing(folder, (*_LIST, "--others", "--exclude-standard"))


def tracked_files(folder: str) -> Listing:
    """List the tracked files of a folder, ignored or not.

    Raises:
        Failure: as for `list_files`.
    """
    return _listing(folder, _LIST)


def is_ignored(folder: str, top: str) -> bool:
    """Tell whether git ignores a whole folder.

    Raises:
        Failure: as for `list_files`.
    """
    name = os.path.relpath(os.path.realpath(folder), top)
    if name == os.curdir:
        return False
    status, _, complaint = _run(top, ("check-ignore", "-q", "--", name))
    if status not in (0, 1):
        raise git_failure(complaint)
    return status == 0


def user_rules(top: str) -> list[str]:
    """Return the ignore files besides .gitignore: the repository's and the user's."""
    found = []
    with contextlib.suppress(Failure):
        status, answer, _ = _run(top, ("rev-parse", "--git-path", "info/exclude"))
        if status == 0:
            found.append(os.path.join(top, os.fsdecode(answer.rstrip(b"\n"))))  # noqa: PTH118
        status, answer, _ = _run(top, ("config", "--type=path", "--get", "core.excludesFile"))
        home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
        usual = os.path.join(home, "git", "ignore")  # noqa: PTH118
        found.append(os.fsdecode(answer.rstrip(b"\n")) if status == 0 else usual)
    return found or [os.path.join(top, ".git", "info", "exclude")]  # noqa: PTH118


def _listing(folder: str, arguments: tuple[str, ...]) -> Listing:
    status, answer, complaint = _run(folder, arguments)
    if status:
        raise git_failure(complaint)
    found = map(_UNREADABLE.fullmatch, complaint.splitlines())
    unreadable = {match[1]: match[2].decode("utf-8", "replace") for match in found if match}
    return Listing(frozenset(filter(None, answer.split(b"\0"))), unreadable)


def _run(folder: str, arguments: tuple[str, ...]) -> tuple[int, bytes, bytes]:
    # The folder decides which repository is meant, not the variables that git sets for hooks.
    with start_git(("-C", folder, *arguments), located=False) as process:
        try:
            answer, complaint = process.communicate(timeout=WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failure("git", f"git took more than {WAIT_SECONDS:g} seconds") from None
        return process.returncode, answer, complaint
