"""Turns every error into one line on stderr and an exit status.

The table below is the only place where an error of the library gets a status.
"""

import errno
import os
import re
import shlex
import sys
from enum import IntEnum
from typing import ClassVar, Self

import typer

from bigcode_cli.framework import output, settings
from gpt_bigcode import errors

_NO_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "failed to map segment",
    "not enough memory",
    "out of memory",
)
_CLOSE_OPTIONS = re.compile(r" \(Possible options: (.+)\)$")


class ExitStatus(IntEnum):
    """The exit statuses of every command."""

    meaning: str

    DONE = 0, "done"
    FINDINGS = 1, "score, classify or tag crossed a threshold; infill --in-place was not certain"
    USAGE = 2, "usage: an option, argument or setting is wrong"
    FAILED = 3, "the work could not be done; the line on stderr says why"
    INTERRUPTED = 130, "interrupted by Ctrl-C; what was written stays"
    PIPE_CLOSED = 141, "the reader of standard output has gone"
    TERMINATED = 143, "ended by SIGTERM"

    def __new__(cls, value: int, meaning: str) -> Self:
        """Attach the sentence that the man pages print."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


LIBRARY_STATUS: dict[type[errors.GPTBigCodeError], ExitStatus] = {
    errors.GPTBigCodeError: ExitStatus.FAILED,
    errors.ConfigError: ExitStatus.FAILED,
    errors.UnsupportedModelError: ExitStatus.FAILED,
    errors.CheckpointError: ExitStatus.FAILED,
    errors.CheckpointMismatchError: ExitStatus.FAILED,
    errors.CheckpointMissingError: ExitStatus.FAILED,
    errors.NonFiniteError: ExitStatus.FAILED,
    errors.UnsafeCheckpointError: ExitStatus.FAILED,
    errors.TokenizerError: ExitStatus.FAILED,
    errors.InfillUnsupportedError: ExitStatus.FAILED,
    errors.DraftMismatchError: ExitStatus.FAILED,
    # Only --no-truncate lets a text be too long: the user asked for the refusal.
    errors.ContextError: ExitStatus.USAGE,
    errors.InputError: ExitStatus.FAILED,
    errors.OptionError: ExitStatus.USAGE,
    errors.DeviceError: ExitStatus.FAILED,
    errors.MemoryLimitError: ExitStatus.FAILED,
    errors.MissingFileError: ExitStatus.FAILED,
    errors.UnreadableFileError: ExitStatus.FAILED,
}
"""Exit status of each library error; its slug comes from the class."""


class Failure(Exception):  # noqa: N818  # the name that the exit status has too
    """An error found by the command line: `what: why`, an optional hint and a status."""

    status: ClassVar[ExitStatus] = ExitStatus.FAILED

    def __init__(self, slug: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.slug = slug
        self.hint = hint


class UsageFailure(Failure):
    """The command line or a setting is wrong."""

    status = ExitStatus.USAGE

    def __init__(self, message: str, *, hint: str | None = None, slug: str = "usage") -> None:
        super().__init__(slug, message, hint=hint)


def report(error: BaseException) -> ExitStatus:
    """Write the line for an error, if it has one, and return the exit status."""
    if isinstance(error, KeyboardInterrupt):
        return ExitStatus.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return ExitStatus.PIPE_CLOSED
    trace(error)
    slug, message, hint, status = _describe(error)
    output.complain(slug, message, hint=hint)
    return status


def trace(error: BaseException) -> None:
    """Write the traceback of an error that becomes one line, if BIGCODE_DEBUG asks for it."""
    if os.environ.get("BIGCODE_DEBUG") == "1":
        import traceback

        for line in "".join(traceback.format_exception(error)).splitlines():
            output.write_message(line)


def _describe(error: BaseException) -> tuple[str, str, str | None, ExitStatus]:
    """Return slug, message, hint and status."""
    match error:
        case Failure():
            return error.slug, str(error), error.hint, error.status
        case errors.GPTBigCodeError():
            return error.slug, str(error), error.hint, _library_status(type(error))
        case settings.SettingsError():
            return "settings", str(error), error.hint, ExitStatus.USAGE
        case typer.TyperException():
            return _describe_usage(error)
    return *_describe_surprise(error), ExitStatus.FAILED


def _describe_surprise(error: BaseException) -> tuple[str, str, str | None]:
    """Return slug, message and hint of an unexpected error."""
    if isinstance(error, OSError) and _is_output_error(error):
        return "output", f"stdout: {error.strerror}", None
    if is_memory_error(error):
        hint = "try a shorter prompt, fewer --samples or a smaller model"
        return "memory", "not enough memory", hint
    if isinstance(error, FileNotFoundError) and not _has_current_folder():
        return "input", "the current folder has been removed", "change to an existing folder first"
    message = f"{type(error).__name__}: {str(error)[:200]}"
    return "internal", message, "this is a bug in bigcode; BIGCODE_DEBUG=1 shows where"


def _library_status(kind: type[errors.GPTBigCodeError]) -> ExitStatus:
    """Return the status of the nearest ancestor in the table."""
    for ancestor in kind.__mro__:
        if ancestor in LIBRARY_STATUS:
            return LIBRARY_STATUS[ancestor]
    return ExitStatus.FAILED


def _describe_usage(error: typer.TyperException) -> tuple[str, str, str | None, ExitStatus]:
    context = getattr(error, "ctx", None)
    command = "bigcode" if context is None else context.command_path
    hint = f"try '{command} --help'"
    parameter = getattr(error, "param", None)
    if isinstance(error, typer.BadParameter) and parameter is not None and context is not None:
        message = f"{settings.origin(parameter, context)}: {error.message}"
    else:
        format_message = getattr(error, "format_message", lambda: str(error))
        message = format_message().rstrip(".")
        message = _CLOSE_OPTIONS.sub(r". Did you mean \1?", message[:1].lower() + message[1:])
        hint = _file_hint(command, getattr(error, "option_name", None)) or hint
    return "usage", message, hint, ExitStatus.USAGE


def _file_hint(command: str, option: str | None) -> str | None:
    """How to name a file that begins with the option that does not exist."""
    for word in sys.argv[1:] if option else ():
        if word.startswith(str(option)) and os.path.lexists(word):
            return f"'{command} -- {shlex.quote(word)}' takes it for a file"
    return None


def _has_current_folder() -> bool:
    try:
        os.getcwd()  # noqa: PTH109  # Path.cwd() says no more
    except FileNotFoundError:
        return False
    return True


def _is_output_error(error: OSError) -> bool:
    """Tell a failed write to stdout, which names no file, from a failed open, which does."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
    return error.filename is None and error.errno in full


def is_memory_error(error: BaseException) -> bool:
    """Recognize errors of allocators and the dynamic linker by their text.

    PyTorch raises a plain RuntimeError, and a library that cannot be mapped is an ImportError.
    """
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error).lower()
    return isinstance(error, (RuntimeError, ImportError)) and any(
        words in text for words in _NO_MEMORY
    )
