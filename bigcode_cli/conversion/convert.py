"""Converts a checkpoint to safetensors in a sandbox.

The folder of the result appears only when it is complete and checked.
"""

import errno
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bigcode_cli.conversion import folders
from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.output import Notes, shown_bytes
from bigcode_cli.hub.cache_reader import is_inside
from bigcode_cli.hub.cache_writer import storage_errors
from bigcode_cli.hub.checksums import file_digest, is_digest
from bigcode_cli.hub.progress import ByteProgress
from bigcode_cli.hub.repo_files import CONFIG_FILE, MAX_SUPPORTING_BYTES, supporting_files
from bigcode_cli.hub.verify import require_consistent
from bigcode_cli.io.atomic_files import make_private_folder, readable_mode
from gpt_bigcode.reading import read_checked

_KEPT_VARIABLES = ("PATH", "HOME", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
_SHA256 = "0" * 64


_CHILD = ("-P", "-m", "bigcode_cli.conversion.sandboxed_worker")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is converted.

    Attributes:
        name: its name in messages.
        folder: the folder of its files.
        roots: the folders out of which no link may lead.
        record: its origin, as it is written beside the result.
    """

    name: str
    folder: Path
    roots: Sequence[Path]
    record: Mapping[str, Any]


def convert(source: Source, target: Path, notes: Notes, *, private: bool) -> None:
    """Convert a checkpoint into a new folder.

    Args:
        source: the checkpoint; cached files are compared with their hashes first.
        target: the folder to create; it may exist if it is empty.
        notes: told about progress.
        private: whether only this user can read the result.

    Raises:
        Failure: the target exists, the disk is full, or the weights are damaged or unsafe.
        GPTBigCodeError: the result does not fit its configuration.
    """
    _require_new(target)
    files = folders.source_files(source.folder)
    others = supporting_files(os.listdir(source.folder))  # noqa: PTH208  # names only
    _require_inside(source, [*files, *others])
    sizes = {name: (source.folder / name).stat().st_size for name in (*files, *others)}
    size = sum(sizes[name] for name in files)
    _require_hashes(source, files)
    elsewhere = "let XDG_CACHE_HOME name a folder" if private else "name a folder"
    with storage_errors(target, elsewhere), _new_folder(target, private=private) as folder:
        _require_space(folder, sum(sizes.values()))
        notes.note(f"{source.name}: converting {shown_bytes(size)} to safetensors")
        _copy_supporting_files(source.folder, folder, others)
        with ByteProgress(f"{source.name}: converted", size, notes) as progress:
            _run_child(source, folder, files, progress)
        require_consistent(folder)
        digests = {path.name: file_digest(path, _SHA256) for path in sorted(folder.iterdir())}
        folders.write_record(folder, source.record, digests)
        _sync(folder)


def _require_new(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not (target.is_dir() and _is_empty(target))):
        hint = "name a new folder"
        raise Failure("exists", f"{target}: already exists", hint=hint)


def _is_empty(folder: Path) -> bool:
    return next(folder.iterdir(), None) is None


def _require_hashes(source: Source, files: list[str]) -> None:
    """Compare cached files with the hashes in their names, before they are opened."""
    for name in files:
        path = source.folder / name
        expected = path.readlink().name if path.is_symlink() else ""
        if is_digest(expected):
            found = file_digest(path, expected)
            if found != expected:
                message = f"{source.name}: {name}: its hash is {found}, expected {expected}"
                hint = f"bigcode models pull --convert {source.name} repairs it"
                raise Failure("model-corrupt", message, hint=hint)


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        message = f"needs {shown_bytes(needed)}, but {folder.parent} has {shown_bytes(free)} free"
        raise Failure("no-space", message, hint="free some space, or name a folder elsewhere")


@contextmanager
def _new_folder(target: Path, *, private: bool) -> Iterator[Path]:
    """Yield a temporary folder that becomes the target if nothing fails."""
    if private:
        make_private_folder(target.parent)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent, target.name)
    folder = target.with_name(f".{target.name}.{secrets.token_hex(4)}{folders.PARTIAL_SUFFIX}")
    folder.mkdir(mode=0o700)
    folder.chmod(0o700)
    with ExitStack() as held:
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        held.callback(os.close, handle)
        with suppress(OSError):  # a file system without locks, where sweep() finds none either
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
        for path in folder.iterdir():
            path.chmod(readable_mode())
        folder.chmod(0o700 if private else readable_mode(executable=True))
        _rename(folder, target)


def _rename(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        _require_new(target)  # another process was faster
        raise


def sweep(parent: Path, name: str = "") -> int:
    """Remove leftovers of killed conversions from a folder; return the bytes freed."""
    freed = 0
    for path in parent.glob(f".{name}*{folders.PARTIAL_SUFFIX}"):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            freed += sum(entry.lstat().st_size for entry in path.iterdir())
            shutil.rmtree(path, ignore_errors=True)
        except OSError:  # its writer is alive
            continue
        finally:
            os.close(handle)
    return freed


def _require_inside(source: Source, names: Sequence[str]) -> None:
    """Refuse links out of a model's folder: the user did not name their targets.

    Raises:
        Failure: `model-unsafe`.
    """
    for name in names:
        if not is_inside(source.folder / name, source.roots):
            message = f"{source.name}: {name} is a link that leads out of its folder"
            raise Failure("model-unsafe", message, hint="replace the link by the file itself")


def _copy_supporting_files(source: Path, target: Path, names: Sequence[str]) -> None:
    for name in names:
        data = read_checked((source / name).resolve(), max_bytes=MAX_SUPPORTING_BYTES)
        (target / name).write_bytes(data)
    if folders.has_other_layout(source):
        from gpt_bigcode.checkpoint.santacoder_config import convert_config
        from gpt_bigcode.config import MAX_CONFIG_BYTES, read_json_object

        fields = convert_config(read_json_object(source / CONFIG_FILE, MAX_CONFIG_BYTES))
        (target / CONFIG_FILE).write_text(json.dumps(fields, indent=2) + "\n", "utf-8")


def _run_child(source: Source, folder: Path, files: list[str], progress: ByteProgress) -> None:
    arguments = [
        *_CHILD,
        str(os.getpid()),
        str(source.folder.resolve()),
        str(folder.resolve()),
        *files,
    ]
    try:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=child_environment(),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        message = f"{source.name}: no process can be started ({error.strerror})"
        raise Failure("conversion", message) from None
    assert process.stdout is not None  # noqa: S101  # a pipe was asked for
    try:
        with process.stdout:
            for line in process.stdout:
                if _handle(source, json.loads(line), progress):
                    return
    finally:
        process.kill()
        process.wait()
    message = f"{source.name}: the process that converts it ended with {process.returncode}"
    raise Failure("conversion", message, hint="is there enough memory?")


def child_environment() -> dict[str, str]:
    """Return the variables that the process needs; no token is among them."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _handle(source: Source, said: Mapping[str, Any], progress: ByteProgress) -> bool:
    """Handle one line from the process; tell whether it was the last one.

    Raises:
        Failure: the error that the process reports.
    """
    if "error" in said:
        raise Failure(said["error"], f"{source.name}: {said['message']}", hint=said["hint"])
    if "sandbox" in said:
        progress.detail(f"{source.name}: pickles are opened in {said['sandbox']}")
    progress.advance(said.get("written", 0))
    return "done" in said


def _sync(folder: Path) -> None:
    """Flush everything to the disk before the folder gets its name."""
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
