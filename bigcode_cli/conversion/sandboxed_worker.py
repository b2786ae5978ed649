"""The process that opens pickles: no network, little memory, and it dies with its parent.

Started as PARENT SOURCE TARGET FILE...; writes one JSON object a line: what keeps the network out,
bytes written, and at last `done` or an error. Linux has a system call for each of its limits; on
other systems an audit hook and a thread take their place.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

_SET_PARENT_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES = 1, 38
_NEW_USERS, _NEW_NETWORK = 0x10000000, 0x40000000
_ROOM_BYTES = 1 << 30
_WATCH_SECONDS = 0.5
_FORBIDDEN = (
    *("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn"),
    *("os.kill", "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.chown", "os.truncate"),
    *("pty.spawn", "ftplib.", "urllib.", "http.", "smtplib.", "shutil.", "ctypes.dlopen"),
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def die_with(parent: int) -> None:
    """End with the parent, even if it ended before this call."""
    prctl = _system_call("prctl")
    if prctl is None:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    else:
        prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


def _system_call(name: str) -> Any:
    """Return a function of the C library that only Linux has; None elsewhere."""
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)


def isolate() -> str:
    """Drop privileges and the network; return what keeps the network out.

    Without a network namespace, the audit hook of `forbid` refuses sockets.
    """
    prctl, unshare = _system_call("prctl"), _system_call("unshare")
    if prctl is not None:
        prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A process that is allowed to without a new user keeps its right to read other users' files.
    for spaces in (_NEW_NETWORK, _NEW_USERS | _NEW_NETWORK):
        if unshare is not None and unshare(spaces) == 0:
            return "a network namespace of its own"
    return "a hook that refuses sockets"


def forbid(target: Path) -> None:
    """Install an audit hook, which cannot be removed, against all that reading does not need."""
    allowed = str(target) + os.sep

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_FORBIDDEN):
            raise PermissionError(event)
        if event != "open" or not isinstance(arguments[2], int):
            return
        if arguments[2] & _WRITING and not str(arguments[0]).startswith(allowed):
            raise PermissionError(event)

    sys.addaudithook(refuse)


def limit_memory(source_bytes: int) -> None:
    """Allow the memory used now, the size of the files, which are mapped, and a fixed reserve."""
    _lower(resource.RLIMIT_FSIZE, source_bytes + _ROOM_BYTES)
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except (
        OSError
    ):  # address space cannot be measured: macOS maps hundreds of GB, and ignores the limit
        return
    used = pages * resource.getpagesize()
    _lower(resource.RLIMIT_AS, used + source_bytes + _ROOM_BYTES)


def _lower(kind: int, most: int) -> None:
    """Lower a limit for good."""
    now = resource.getrlimit(kind)[1]
    allowed = most if now == resource.RLIM_INFINITY else min(most, now)
    resource.setrlimit(kind, (allowed, allowed))


def tell(**fields: Any) -> None:
    """Write one line to the parent."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def convert(source: Path, target: Path, files: list[str]) -> None:
    """Convert, and report to the parent."""
    from gpt_bigcode.errors import GPTBigCodeError

    tell(sandbox=isolate())
    try:
        _convert(source, target, files)
    except GPTBigCodeError as error:
        tell(error=error.slug, message=str(error), hint=error.hint)
    except MemoryError:
        tell(error="memory", message="the conversion needs more memory than it may have", hint=None)
    except OSError as error:
        tell(error="conversion", message=f"cannot be converted: {error.strerror}", hint=None)
    else:
        tell(done=True)


def _convert(source: Path, target: Path, files: list[str]) -> None:
    from gpt_bigcode.checkpoint.pickle_reader import require_archive

    paths = [source / name for name in files]
    for path in paths:
        if path.suffix == ".bin":
            require_archive(path)
    import torch

    from gpt_bigcode.checkpoint.conversion import convert_weights

    torch.set_num_threads(1)
    limit_memory(sum(path.stat().st_size for path in paths))
    forbid(target)
    convert_weights(source, files, target, advance=lambda count: tell(written=count))


def main() -> None:
    """Run as a process of its own."""
    parent, source, target, *files = sys.argv[1:]
    die_with(int(parent))
    convert(Path(source), Path(target), files)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
