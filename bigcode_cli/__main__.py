"""The entry point of `bigcode`: makes the process safe before anything else is imported."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the current folder, put there by -m; before any other import

import gc
import os
import resource
import warnings

_STDERR = 2
_INTERRUPTED = 130
_OBJECTS_PER_COLLECTION = 100_000  # a short call ends before; Python's 700 are for long ones


def run() -> None:
    """Run the command line and end the process with its exit status."""
    try:
        _forget_current_directory()
        _occupy_standard_descriptors()
        _silence_warnings()
        _forbid_core_dumps()
        from bigcode_cli.framework import signals

        signals.install()
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)
    try:
        gc.disable()  # importing makes no garbage, and looking for it takes a twentieth of the help
        from bigcode_cli.app import main

        gc.set_threshold(_OBJECTS_PER_COLLECTION)
        gc.enable()
        status = main()
    except KeyboardInterrupt:
        status = signals.status() or _INTERRUPTED
    _end(status)


def _forget_current_directory() -> None:
    """Remove the current directory from the module path where PYTHONPATH has an empty item.

    A `torch.py` in somebody's repository must not be imported because `bigcode` was started there.
    """
    items = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if len(items) > 1 and "" in items and not sys.flags.ignore_environment:
        try:
            here = os.getcwd()  # noqa: PTH109  # pathlib may not be imported yet
        except FileNotFoundError:  # it has been removed, and nothing can be imported from it
            here = ""
        sys.path[:] = [path for path in sys.path if path not in ("", here)]


def _silence_warnings() -> None:
    """Keep Python warnings of libraries, with their source lines, out of what users and hooks read.

    -W and PYTHONWARNINGS still show them.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _forbid_core_dumps() -> None:
    """Let no crash write the memory of this process to disk: it may hold secrets of a file."""
    if os.environ.get("BIGCODE_DEBUG") != "1":
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _occupy_standard_descriptors() -> None:
    """Open /dev/null where stdin, stdout or stderr is closed.

    Otherwise the first file that is opened gets its number, and stray output would go there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)


def _end(status: int) -> None:
    """End the process at once: taking PyTorch apart at exit costs time and helps nobody."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError):  # closed; what mattered was flushed, and reported, before
            continue
    os._exit(status)


if __name__ == "__main__":
    run()
