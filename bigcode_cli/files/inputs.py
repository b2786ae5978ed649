"""Which texts a command line names: files and folders, standard input, or what is staged in git."""

import os
from collections.abc import Sequence
from pathlib import Path

from bigcode_cli.files.sources import STANDARD_INPUT, Source, file_source, refuse_terminal
from bigcode_cli.framework.errors import UsageFailure
from bigcode_cli.framework.output import Notes


def find_texts(
    paths: Sequence[Path],
    notes: Notes,
    *,
    command: str,
    staged: bool = False,
    hidden: bool = False,
    ignore: bool = True,
) -> list[Source]:
    """The texts of a command line.

    Args:
        paths: files and folders; none, or `-`: standard input.
        notes: told what git does not say.
        command: what the hint names.
        staged: take them from git's index; only these paths if there are any.
        hidden: hidden files in folders too.
        ignore: leave out what git ignores in folders.

    Raises:
        UsageFailure: standard input is a terminal, or is to be staged.
        Failure: see `git_staged.staged_sources`.
    """
    names = [str(path) for path in paths]
    if staged:
        from bigcode_cli.files.git_staged import staged_sources

        if STANDARD_INPUT in names:
            raise UsageFailure("--staged: reads git's index, not standard input")
        return staged_sources(names)
    if not names or STANDARD_INPUT in names:
        refuse_terminal(command)
    if not names:
        return [file_source(STANDARD_INPUT)]
    if len(names) == 1 and not os.path.isdir(names[0]):  # noqa: PTH112  # any bytes
        return [file_source(names[0])]
    from bigcode_cli.files.walk import find_sources

    return list(find_sources(paths, hidden=hidden, ignore=ignore, note=notes.note))
