"""Files are replaced as a whole, and only what was read is replaced."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.io import atomic_files
from bigcode_cli.io.atomic_files import Target, atomic_write, folder_lock, open_target

LEFTOVER = ".a.py.bigcode-0123abcd"


def _target(path: Path, *, create: bool = False) -> Target:
    return open_target(path, option="--it", slug="it", max_bytes=100, create=create)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_read_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"old")
    target = _target(path)
    assert target.data == b"old"
    assert not atomic_write(target, b"old")
    assert atomic_write(target, b"new")
    assert (path.read_bytes(), _names(tmp_path)) == (b"new", ["a.py"])


def _rewritten(path: Path) -> None:
    path.write_bytes(b"old")
    os.utime(path, (1, 1))


CHANGES: dict[str, Any] = {
    "written to": lambda path: path.write_bytes(b"OLD"),
    "written with the same content": _rewritten,
    "replaced": lambda path: (path.unlink(), path.write_bytes(b"old")),
    "removed": Path.unlink,
    "replaced by a link": lambda path: (path.rename(f"{path}2"), path.symlink_to(f"{path}2")),
    "replaced by a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_not_replaced(change: str, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"old")
    target = _target(path)
    CHANGES[change](path)
    before = _names(tmp_path)
    for data in (b"old", b"new"):
        with pytest.raises(Failure, match=r"since it was read") as caught:
            atomic_write(target, data)
        assert caught.value.slug == "changed"
    assert _names(tmp_path) == before


def test_a_new_file_takes_no_place_that_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    first, second = _target(path, create=True), _target(path, create=True)
    assert atomic_write(first, b"")
    with pytest.raises(Failure, match="was made meanwhile"):
        atomic_write(second, b"2")
    assert (path.read_bytes(), _names(tmp_path)) == (b"", ["a.py"])


def test_a_link_that_is_switched_meanwhile_mixes_no_files(tmp_path: Path) -> None:
    """The file that was read is written, or none: never the text of one into the other."""
    link, stop = tmp_path / "link", False
    link.symlink_to("A")
    (tmp_path / "A").touch()
    (tmp_path / "B").touch()

    def switch() -> None:
        count = 0
        while not stop:
            count += 1
            (tmp_path / "next").symlink_to("AB"[count % 2])
            (tmp_path / "next").replace(link)

    thread = Thread(target=switch)
    thread.start()
    try:
        for _ in range(100):
            for name in "AB":
                (tmp_path / name).write_bytes(name.encode())
            target = _target(link)
            atomic_write(target, target.data * 2)
            for name in "AB":
                assert (tmp_path / name).read_bytes() in (name.encode(), name.encode() * 2)
    finally:
        stop = True
        thread.join()


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"old")
    others = [".a.py.swp", ".a.py.bigcode-", ".a.py.bigcode-0123abcg", ".a.py.bigcode-0123abcde"]
    others += [".b.py.bigcode-0123abcd", "a.py.bigcode-0123abcd"]
    for name in (LEFTOVER, *others):
        (tmp_path / name).touch()
    (tmp_path / ".a.py.bigcode-00000000").symlink_to(path)
    assert atomic_write(_target(path), b"new")
    assert _names(tmp_path) == sorted(["a.py", *others, ".a.py.bigcode-00000000"])


def test_what_a_living_process_writes_is_not_swept(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"old")
    with atomic_files._partial_file(path) as (_, partial):
        assert atomic_write(_target(path), b"new")
        assert partial.exists()
    assert _names(tmp_path) == ["a.py"]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_the_mode_of_a_new_file(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        atomic_write(_target(tmp_path / "public", create=True), b"")
        atomic_write(_target(tmp_path / "private", create=True), b"", new_mode=0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "public").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600


def test_a_lock_is_waited_for_and_freed_by_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_files, "_LOCK_SECONDS", 0.1)
    script = (
        "import sys, pathlib, bigcode_cli.io.atomic_files as files\n"
        "with files.folder_lock(pathlib.Path(sys.argv[1])):\n"
        "    print('locked', flush=True)\n    sys.stdin.read()\n"
    )
    file = tmp_path / "a.json"
    with subprocess.Popen(
        [sys.executable, "-c", script, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(Failure, match="another process is writing it"), folder_lock(file):
            pass
        process.kill()
        process.wait()
    with folder_lock(file):
        assert _names(tmp_path) == []


def test_what_is_too_large_or_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"x" * 101)
    with pytest.raises(Failure, match="more than") as caught:
        _target(tmp_path / "a.py")
    assert caught.value.slug == "too-large"
    for name in ("", "-"):
        with pytest.raises(UsageFailure, match="--it"):
            _target(Path(name) if name else tmp_path)
