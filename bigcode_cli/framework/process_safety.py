"""Makes the process safe before anything else: module path, descriptors, warnings, core dumps.

Imports only what every Python process has loaded already: until the module path is clean, any other
name could be a file of the folder in which `bigcode` was started.
"""

import os
import sys

_STDERR = 2


def make_process_safe() -> None:
    """Apply all of the below, before any other import."""
    forget_current_directory()
    occupy_standard_descriptors()
    silence_library_warnings()
    forbid_core_dumps()
    limit_spinning()


def forget_current_directory() -> None:
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


def occupy_standard_descriptors() -> None:
    """Open /dev/null where stdin, stdout or stderr is closed.

    Otherwise the first file that is opened gets its number, and stray output would go there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)


def silence_library_warnings() -> None:
    """Keep Python warnings of libraries, with their source lines, out of what users and hooks read.

    -W and PYTHONWARNINGS still show them.
    """
    import warnings

    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def forbid_core_dumps() -> None:
    """Let no crash write the memory of this process to disk: it may hold secrets of a file."""
    import resource

    if os.environ.get("BIGCODE_DEBUG") != "1":
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def limit_spinning() -> None:
    """Let PyTorch's threads sleep when they wait for each other for longer than about 50 us.

    By default they spin for milliseconds. Where other processes compute too, a thread so keeps the
    one that it waits for from running, and everything takes ten times as long.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # read when GNU's OpenMP is loaded


def end_process(status: int) -> None:
    """End the process at once: taking PyTorch apart at exit costs time and helps nobody."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError):  # closed; what mattered was flushed, and reported, before
            continue
    os._exit(status)
