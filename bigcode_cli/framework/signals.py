"""Ctrl-C and SIGTERM: the first asks the command to stop, the second stops it at once.

A signal that was ignored when the process started stays ignored.
"""

import os
import signal
import sys
from types import FrameType
from typing import Any

_SIGNAL_BASE = 128
_received: list[int] = []


def install() -> None:
    """Handle the signals that still have their default action."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)


def status() -> int | None:
    """Return the exit status for the signal that was received, if any."""
    return _SIGNAL_BASE + _received[0] if _received else None


def _stop(number: int, _frame: FrameType | None) -> None:
    if _received:
        os._exit(_SIGNAL_BASE + number)
    _received.append(number)
    # A finalizer or callback that swallows the exception would let the command run on.
    sys.unraisablehook = _leave
    raise KeyboardInterrupt


def _leave(_unraisable: Any) -> None:
    os._exit(status() or _SIGNAL_BASE)
