"""Strips file contents from unexpected exceptions."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from bigcode_cli.framework.errors import Failure
from gpt_bigcode.errors import GPTBigCodeError

_HINT = "this is a bug in bigcode; BIGCODE_DEBUG=1 shows where"


@contextmanager
def scrub_errors() -> Iterator[None]:
    """Let our own and the system's errors pass; reduce others to where they arose.

    A library may quote its input in an exception, and with it a secret.

    Raises:
        Failure: `internal`, instead of any other exception; the traceback has no messages.
    """
    try:
        yield
    except (Failure, GPTBigCodeError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # the point of it
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].name}, line {frames[-1].lineno}" if frames else "no frame"
        failure = Failure("internal", f"{type(error).__name__} in {place}", hint=_HINT)
        raise failure.with_traceback(error.__traceback__) from None
