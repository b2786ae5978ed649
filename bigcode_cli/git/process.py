"""Runs git so that nothing of the user's repository is changed, and none of its programs run.

Knows nothing of what its commands print.
"""

import os
import subprocess
from collections.abc import Sequence

from bigcode_cli.failures import Failure

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
_LONGEST_REASON = 200


def start_git(
    arguments: Sequence[str], *, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a git command whose output is read as it comes.

    Raises:
        Failure: `git`: there is no git.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _DROPPED}
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
    """The error that git's own words make."""
    lines = complaint.decode("utf-8", "replace").strip().splitlines() or ["it gave no reason"]
    reason = lines[0].removeprefix("fatal: ").removeprefix("error: ")
    return Failure("git", reason[:_LONGEST_REASON])
