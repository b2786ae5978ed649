"""`bigcode infill --in-place`: the old file or the new one, whatever happens."""

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bigcode_cli.framework.errors import Failure
from bigcode_cli.io import atomic_files
from infill_program import Infill
from program import BIGCODE, TIMEOUT_SECONDS, Outcome, Run, on_terminal
from scripted_models import encode, write_checkpoint

OLD, NEW = b"x = \ny = 2\n", b"x = 1\ny = 2\n"


@pytest.fixture
def infill(run: Run) -> Infill:
    return Infill(run)


@pytest.fixture
def model(infill: Infill) -> Path:
    """Writes `1` into the gap of OLD."""
    return infill.model("1", OLD)


def _fill(run: Run, model: Path, name: str = "a.py", *more: str) -> Outcome:
    return run("infill", "-m", model, "--at=1:5", "--in-place", *more, name)


def _names(run: Run) -> list[str]:
    return sorted(path.name for path in run.folder.iterdir())


def test_the_file_and_nothing_else(infill: Infill, run: Run, model: Path) -> None:
    path = infill.write(OLD)
    done = _fill(run, model)
    assert (done.status, done.stdout, done.stderr) == (0, b"", "")
    assert path.read_bytes() == NEW
    assert _names(run) == ["a.py"]
    path.write_bytes(OLD)
    assert "a.py: written" in _fill(run, model, "a.py", "-v").stderr
    path.write_bytes(OLD)
    done = _fill(run, model, "a.py", "--format=json")
    assert done.json["choices"][0]["text"] == "1"
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o754, 0o4755, 0o666])
def test_the_mode_stays(mode: int, infill: Infill, run: Run, model: Path) -> None:
    """All but set-user-ID: who fills a gap is not who vouched for the program."""
    path = infill.write(OLD)
    path.chmod(mode)
    assert _fill(run, model).status == 0
    assert path.read_bytes() == NEW
    assert stat.S_IMODE(path.stat().st_mode) == mode & 0o777


def test_a_symlink_stays_and_its_target_is_written(infill: Infill, run: Run, model: Path) -> None:
    (run.folder / "deep").mkdir()
    path = infill.write(OLD, "deep/real.py")
    (run.folder / "middle.py").symlink_to("deep/real.py")
    (run.folder / "a.py").symlink_to("middle.py")
    assert _fill(run, model).status == 0
    assert (run.folder / "a.py").readlink() == Path("middle.py")
    assert (path.is_symlink(), path.read_bytes()) == (False, NEW)
    assert _names(run) == ["a.py", "deep", "middle.py"]


def test_what_is_refused_is_left_alone(infill: Infill, run: Run, model: Path) -> None:
    path = infill.write(OLD)
    os.link(path, run.folder / "b.py")
    done = _fill(run, model)
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr.startswith("bigcode: error[in-place]: a.py: has 2 names (hard links)\n")
    (run.folder / "b.py").unlink()
    path.chmod(0o444)
    done = _fill(run, model)
    assert done.status == 3
    assert done.stderr == "bigcode: error[in-place]: a.py: is read-only\n"
    assert path.read_bytes() == OLD
    done = _fill(run, model, "nowhere.py")
    assert (done.status, "nowhere.py: No such file" in done.stderr) == (3, True)
    os.mkfifo(run.folder / "fifo")
    done = _fill(run, model, "fifo")
    assert (done.status, "fifo: is not a regular file" in done.stderr) == (2, True)


def test_a_folder_that_cannot_be_written_to(
    infill: Infill, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of the system, because tests may run as root, whom no mode stops."""
    path = infill.write(OLD)
    monkeypatch.setattr("os.access", lambda name, _mode: Path(name) == path)
    with pytest.raises(Failure, match="its folder cannot be written to"):
        atomic_files.in_place_target(path, 100)


@contextmanager
def _started(run: Run, model: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program at the moment when it has read the file and is about to write for seconds."""
    read, write = os.pipe()
    capacity = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    place = ("--at=1:5", "--in-place", "--until=file", "--max-tokens=2000")
    shared = (*place, "--context", f"/dev/fd/{read}")
    process = subprocess.Popen(
        [BIGCODE, "infill", "-m", model, *shared, "a.py"],
        cwd=run.folder,
        env=dict(run.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(read,),
    )
    os.close(read)
    with os.fdopen(write, "wb", buffering=0) as stream:
        stream.write(b"\n" * 2 * capacity)  # waits until the program reads it
        yield process


def test_a_file_that_somebody_saved_meanwhile_is_not_overwritten(
    infill: Infill, run: Run, checkpoint: Path
) -> None:
    path = infill.write(OLD)
    with _started(run, checkpoint) as process:
        path.write_bytes(b"saved\n")
    stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, stdout) == (3, b"")
    assert stderr.decode() == (
        "bigcode: error[changed]: a.py: has changed since it was read: nothing was written\n"
    )
    assert path.read_bytes() == b"saved\n"
    assert _names(run) == ["a.py"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interruption_leaves_the_old_file(
    number: signal.Signals, infill: Infill, run: Run, checkpoint: Path
) -> None:
    path = infill.write(OLD)
    with _started(run, checkpoint) as process:
        pass
    time.sleep(0.2)
    process.send_signal(number)
    assert process.communicate(timeout=TIMEOUT_SECONDS) == (b"", b"")
    expected = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    assert process.returncode == expected
    assert (path.read_bytes(), _names(run)) == (OLD, ["a.py"])


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_no_change_is_no_write(
    newline: bytes, mark: bytes, end: bytes, infill: Infill, run: Run
) -> None:
    data = mark + b"x = " + newline + b"y" + (newline if end else end)
    path = infill.write(data)
    before = path.stat()
    done = _fill(run, infill.model("", data))
    assert (done.status, done.stdout) == (0, b"")
    assert done.stderr == "bigcode: note: a.py: unchanged, the answer is empty\n"
    after = path.stat()
    assert path.read_bytes() == data
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_person_is_told_what_was_written(infill: Infill, run: Run, model: Path) -> None:
    """At a terminal, or with -v; an editor that mixes stderr into its buffer is not."""
    call = ("infill", "-m", model, "--at=1:5", "--in-place", "a.py")
    told = "bigcode: note: a.py: written, 1 character on 1 line\n"
    infill.write(OLD)
    assert on_terminal(run, *call, stream="stderr") == (0, told)
    infill.write(OLD)
    assert run(*call).stderr == ""
    infill.write(OLD)
    assert told in run(*call, "-v").stderr


def test_a_marker_goes_only_with_an_answer(infill: Infill, run: Run, model: Path) -> None:
    path = infill.write(b"x = <HERE>\ny = 2\n")
    arguments = ("--marker=<HERE>", "--in-place", "a.py")
    assert run("infill", "-m", infill.model("", OLD), *arguments).status == 0
    assert path.read_bytes() == b"x = <HERE>\ny = 2\n"
    assert run("infill", "-m", model, *arguments).status == 0
    assert path.read_bytes() == NEW


def test_line_ends_and_byte_order_mark_stay(infill: Infill, run: Run) -> None:
    data = b"\xef\xbb\xbfx = \r\ny = 2\r\n"
    path = infill.write(data)
    assert _fill(run, infill.model("1\nz = 3", data), "a.py", "--until=file").status == 0
    assert path.read_bytes() == b"\xef\xbb\xbfx = 1\r\nz = 3\r\ny = 2\r\n"


def test_extended_attributes_stay(infill: Infill, run: Run, model: Path) -> None:
    path = infill.write(OLD)
    try:
        os.setxattr(path, "user.origin", b"kept")
    except OSError:
        pytest.skip("this file system keeps no extended attributes")
    assert _fill(run, model).status == 0
    assert os.getxattr(path, "user.origin") == b"kept"


def _inject(run: Run, model: Path, fault: str) -> Outcome:
    """The program under strace, which makes the system calls on its files in the folder fail."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    trace = ("-f", "-qq", "-o", "/dev/null", "-e", f"inject={fault}")
    arguments = ("-m", model, "--at=1:5", "--in-place", "a.py")
    return run("infill", *arguments, program=(strace, *trace, BIGCODE))


@pytest.mark.parametrize("fault", ["fsync:error=EIO:when=1", "rename,renameat,renameat2:error=EIO"])
def test_a_disk_that_fails_leaves_the_old_file(
    fault: str, infill: Infill, run: Run, model: Path
) -> None:
    path = infill.write(OLD)
    done = _inject(run, model, fault)
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr == (
        "bigcode: error[in-place]: a.py: Input/output error: nothing was written\n"
    )
    assert (path.read_bytes(), _names(run)) == (OLD, ["a.py"])


def test_a_full_disk_leaves_the_old_file(infill: Infill, run: Run) -> None:
    """A limit on the size of files stands for the disk: the write ends half way."""
    data = b"x = \n" + b"y" * 5000
    path = infill.write(data)
    model = write_checkpoint(run.folder.parent / "m", script=encode("1" * 128), positions=128)
    script = 'trap "" XFSZ; ulimit -f 4; exec "$0" "$@"'
    arguments = ("infill", "-m", model, "--at=1:5", "--in-place", "--no-trim", "-q", "a.py")
    done = run(*arguments, program=("bash", "-c", script, BIGCODE))
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr == "bigcode: error[in-place]: a.py: File too large: nothing was written\n"
    assert (path.read_bytes(), _names(run)) == (data, ["a.py"])


def test_an_answer_that_is_not_certain_enough_is_status_1(infill: Infill, run: Run) -> None:
    """A script can tell it from a file that was filled."""
    model = write_checkpoint(run.folder.parent / "unsure", script=[], sharp=0.05)
    path = infill.write(b"x\n")
    drawn = ("--temperature=1", "--seed=1", "--no-trim")
    arguments = ("infill", "-m", model, "--at=1:2", "--in-place", *drawn, "a.py")
    done = run(*arguments, "--min-confidence=0.5")
    assert (done.status, done.stdout, path.read_bytes()) == (1, b"", b"x\n")
    why = "unchanged, the answer is below --min-confidence 0.5"
    assert done.stderr == f"bigcode: note: a.py: {why}\n"
    done = run(*arguments, "--min-confidence=0.5", "--format=json", "-q")
    assert (done.status, done.stderr, path.read_bytes()) == (1, "", b"x\n")
    assert done.json["choices"][0]["text"] == ""
    assert run(*arguments, "--min-confidence=0").status == 0
    assert path.read_bytes() != b"x\n"
