"""What is read is what this user wrote; anything else is a miss, and no other file is touched."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from gpt_bigcode.storage.disk_cache import DiskCache
from gpt_bigcode.storage.private_folder import private_folder

NAME = "0af3-17"
MIB = 1 << 20
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user: needs root")
OTHER_USER = 65534


def cache(tmp_path: Path, limit_bytes: int = 100 * MIB, **options: int) -> DiskCache:
    return DiskCache(path=tmp_path / "cache", suffix=".kv", limit_bytes=limit_bytes, **options)


def file_of(cache: DiskCache, name: str = NAME) -> Path:
    return cache.file(name)


@pytest.mark.parametrize("size", [0, 1, 5000, MIB - 1, MIB, MIB + 1, 7 * MIB, 9 * MIB + 3])
def test_an_entry_is_read_as_it_was_written(tmp_path: Path, size: int) -> None:
    kept, payload = cache(tmp_path), os.urandom(size)
    assert kept.get(NAME) is None
    assert kept.put(NAME, payload)
    assert kept.get(NAME) == payload
    assert kept.write(NAME, (payload[i : i + 300_001] for i in range(0, size, 300_001)))
    assert kept.get(NAME) == payload


def test_parts_are_mapped_and_outlive_the_file(tmp_path: Path) -> None:
    kept, payload = cache(tmp_path), os.urandom(3 * MIB)
    kept.put(NAME, payload)
    file = kept.open(NAME)
    assert file is not None
    with file:
        kept.remove()
        part = file.map(MIB - 5, 1000)
        empty = file.map(7, 0)
    assert bytes(part) == payload[MIB - 5 : MIB + 995]
    assert bytes(empty) == b""
    part[0] ^= 1  # a private copy
    assert kept.get(NAME) is None


def test_an_entry_opened_ahead_is_taken_once_or_closed(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    with kept.opening("0af3-"):  # there is none
        assert kept.get(NAME) is None
    kept.put("0af3-18", b"older")
    kept.put(NAME, b"newer")
    os.utime(file_of(kept, "0af3-18"), (1, 1))
    handles = Path("/proc/self/fd")
    before = len(list(handles.iterdir()))
    with kept.opening("0af3-"):
        taken = kept.open(NAME)
        assert taken is not None
        file_of(kept).write_bytes(b"damaged after that")
        with taken:
            assert taken.size_bytes == len(b"newer")
        assert kept.get(NAME) is None
        assert kept.get("0af3-18") == b"older"
    for _ in range(2):
        with kept.opening("0af3-"):
            assert kept.open("0af3-99") is None  # another one: what was opened is closed
    while len(list(handles.iterdir())) > before:
        time.sleep(0.01)


def test_a_damaged_entry_opened_ahead_is_a_miss(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    kept.put(NAME, b"value")
    file_of(kept).write_bytes(b"x" * 99)
    with kept.opening("0af3-"):
        assert kept.get(NAME) is None
    assert not file_of(kept).exists()


@pytest.mark.parametrize("size", [900, 6 * MIB])
def test_no_changed_byte_is_read(tmp_path: Path, size: int) -> None:
    kept = cache(tmp_path)
    kept.put(NAME, bytes(size))
    whole = file_of(kept).read_bytes()
    for place in {*range(0, len(whole), len(whole) // 40), *range(len(whole) - 60, len(whole))}:
        flipped = bytearray(whole)
        flipped[place] ^= 16
        file_of(kept).write_bytes(flipped)
        assert kept.get(NAME) is None
        assert not file_of(kept).exists()
    for damaged in (b"", whole[:-1], whole + b"\0", whole[1:], whole[:40], b"x" * len(whole)):
        file_of(kept).write_bytes(damaged)
        assert kept.get(NAME) is None
    file_of(kept).write_bytes(whole)
    file_of(kept).chmod(0o600)  # whatever the umask is
    assert kept.get(NAME) == bytes(size)


def test_an_entry_is_valid_under_its_own_name_and_secret_only(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    kept.put(NAME, b"value")
    file_of(kept).rename(file_of(kept, "0af3-18"))
    assert kept.get("0af3-18") is None
    kept.put(NAME, b"value")
    (kept.path / "key").unlink()
    kept.put("aa", b"makes another secret")
    assert kept.get(NAME) is None
    assert kept.get("aa") == b"makes another secret"


@pytest.mark.parametrize("how", ["short", "readable"])
def test_a_secret_that_is_none_is_replaced(tmp_path: Path, how: str) -> None:
    kept = cache(tmp_path)
    kept.put(NAME, b"value")
    secret = kept.path / "key"
    before = secret.read_bytes()
    if how == "short":
        secret.write_bytes(before[:7])
    else:
        secret.chmod(0o644)
    assert kept.get(NAME) is None
    assert kept.put(NAME, b"value")
    assert kept.get(NAME) == b"value"
    assert secret.read_bytes() != before
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_all_is_for_the_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    kept = DiskCache(path=tmp_path / "new" / "cache", suffix=".kv", limit_bytes=MIB)
    before = os.umask(0)
    try:
        kept.put(NAME, b"value")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"new": 0o700, "cache": 0o700, "key": 0o600, f"{NAME}.kv": 0o600}


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o1777])
def test_a_folder_that_others_can_write_to_is_ignored(tmp_path: Path, mode: int) -> None:
    kept = cache(tmp_path)
    kept.put(NAME, b"value")
    kept.path.chmod(mode)
    assert kept.get(NAME) is None
    assert not kept.put("ab", b"other")
    assert kept.entries() == []
    assert not kept.remove()
    assert stat.S_IMODE(kept.path.stat().st_mode) == mode
    kept.path.chmod(0o700)
    assert kept.get(NAME) == b"value"


def test_a_file_that_others_can_write_to_is_ignored(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    kept.put(NAME, b"value")
    file_of(kept).chmod(0o622)
    assert kept.get(NAME) is None


@needs_root
@pytest.mark.parametrize("what", ["folder", "file", "secret"])
def test_what_belongs_to_another_user_is_ignored(tmp_path: Path, what: str) -> None:
    kept = cache(tmp_path)
    kept.put(NAME, b"value")
    places = {"folder": kept.path, "file": file_of(kept), "secret": kept.path / "key"}
    os.chown(places[what], OTHER_USER, OTHER_USER)
    assert kept.get(NAME) is None


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    victim = tmp_path / "home"
    victim.mkdir()
    victim.chmod(0o755)  # whatever the umask is
    (victim / ".bashrc").write_text("precious")
    (victim / f".{NAME}.kv.partial").write_text("precious")
    os.utime(victim / ".bashrc", (1, 1))
    kept = cache(tmp_path)
    kept.path.symlink_to(victim)
    assert not kept.put(NAME, b"value")
    assert not kept.trim(1)
    assert not kept.remove()
    assert {path.name for path in victim.iterdir()} == {".bashrc", f".{NAME}.kv.partial"}
    assert stat.S_IMODE(victim.stat().st_mode) == 0o755
    kept.path.unlink()
    kept.put(NAME, b"value")
    for name in (f"{NAME}.kv", f".{NAME}.kv.partial"):
        kept.remove()
        (kept.path / name).symlink_to(victim / ".bashrc")
        assert kept.get(NAME) is None
        kept.put(NAME, b"value")
    assert (victim / ".bashrc").read_text() == "precious"


@needs_root
def test_a_link_of_another_user_above_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "mine")
    kept = DiskCache(path=link / "cache", suffix=".kv", limit_bytes=MIB)
    os.chown(link, OTHER_USER, OTHER_USER, follow_symlinks=False)
    assert not kept.put(NAME, b"value")
    assert list((tmp_path / "mine").iterdir()) == []
    os.chown(link, 0, 0, follow_symlinks=False)
    assert kept.put(NAME, b"value")


def test_a_named_pipe_in_place_of_an_entry_does_not_block(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    kept.put(NAME, b"value")
    file_of(kept).unlink()
    os.mkfifo(file_of(kept), 0o600)
    assert kept.get(NAME) is None


@pytest.mark.parametrize("place", ["relative", "a-file", "below-a-file", "/proc/cache"])
def test_a_folder_that_cannot_be_used_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").write_bytes(b"mine")
    places = {"relative": Path("cache"), "below-a-file": tmp_path / "a-file" / "cache"}
    kept = DiskCache(path=places.get(place, tmp_path / place), suffix=".kv", limit_bytes=MIB)
    assert not kept.put(NAME, b"value")
    assert kept.get(NAME) is None
    assert not kept.trim(1)
    assert kept.entries() == []
    assert [path.name for path in tmp_path.iterdir()] == ["a-file"]


def test_names_are_checked(tmp_path: Path) -> None:
    for name in ("", "../ab", "-a", "AB", "key", "a" * 129):
        with pytest.raises(ValueError, match="name"):
            cache(tmp_path).get(name)
        with pytest.raises(ValueError, match="name"):
            cache(tmp_path).put(name, b"")


def names_by_age(kept: DiskCache, count: int) -> list[str]:
    """Entries of about 1,100 bytes, the first used longest ago."""
    names = [f"{number:02x}-ab" for number in range(count)]
    for age, name in enumerate(names):
        kept.put(name, bytes(1000))
        os.utime(file_of(kept, name), (1000 + age, 1000 + age))
    return names


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    kept = cache(tmp_path, limit_bytes=5000)
    first, _, *others = names_by_age(kept, 6)
    assert kept.get(first) == bytes(1000)  # is used, and so the newest
    assert kept.trim()
    assert {entry.name for entry in kept.entries()} == {first, *others[1:]}
    assert kept.trim(needed_bytes=3000)
    assert {entry.name for entry in kept.entries()} == {first}
    assert not kept.trim(needed_bytes=6000)
    assert kept.entries() == []


def test_the_number_of_entries_is_limited_too(tmp_path: Path) -> None:
    kept = cache(tmp_path, limit_entries=2)
    names = names_by_age(kept, 5)
    assert kept.trim()
    assert [entry.name for entry in kept.entries()] == names[-2:]


def test_trim_says_no_when_the_disk_has_no_room_to_spare(tmp_path: Path) -> None:
    assert not cache(tmp_path, spare_bytes=1 << 60).trim(needed_bytes=1)
    assert cache(tmp_path).trim(needed_bytes=1)


def test_entries_that_begin_alike_are_removed_together(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    for name in ("aa-1", "aa-2", "ab-1"):
        kept.put(name, bytes(500))
    (kept.path / "notes.txt").write_text("of somebody")
    sizes = {entry.name: entry.size_bytes for entry in kept.entries()}
    assert kept.remove("aa-") == sizes["aa-1"] + sizes["aa-2"]
    assert [entry.name for entry in kept.entries()] == ["ab-1"]
    assert kept.remove() == sizes["ab-1"]
    assert kept.remove() == 0
    assert {path.name for path in kept.path.iterdir()} == {"key", "notes.txt"}


def test_only_our_own_leftovers_are_swept(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    kept.put(NAME, b"value")
    others = (".bashrc", ".partial", ".x.partial", ".ab.kv", ".ab.other.partial", "ab.kv.partial")
    for name in (*others, ".ab-1.kv.partial"):
        (kept.path / name).write_bytes(b"x")
        os.utime(kept.path / name, (1, 1))
    kept.trim()
    assert {path.name for path in kept.path.iterdir()} == {*others, "key", f"{NAME}.kv"}


SLOW_WRITER = """
import sys, time
from pathlib import Path
from gpt_bigcode.storage.disk_cache import DiskCache
def parts():
    yield b"first"
    print("writing", flush=True)
    time.sleep(60)
DiskCache(path=Path(sys.argv[1]), suffix=".kv", limit_bytes=1 << 20).write(sys.argv[2], parts())
"""


def test_one_process_writes_an_entry_and_leaves_nothing_when_killed(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    partial = kept.path / f".{NAME}.kv.partial"
    command = [sys.executable, "-c", SLOW_WRITER, str(kept.path), NAME]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        assert not kept.put(NAME, b"value")
        assert kept.get(NAME) is None
        kept.trim()
        assert partial.exists()  # it is being written
        writer.send_signal(signal.SIGKILL)
    assert partial.exists()
    kept.trim()
    assert not partial.exists()
    assert kept.put(NAME, b"value")


def test_an_error_of_the_parts_leaves_nothing(tmp_path: Path) -> None:
    kept = cache(tmp_path)

    def parts() -> Iterator[bytes]:
        yield b"first"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        kept.write(NAME, parts())
    assert [path.name for path in kept.path.iterdir()] == ["key"]


def _race(arguments: tuple[Path, int]) -> list[bytes | None]:
    folder, seed = arguments
    kept = DiskCache(path=folder, suffix=".kv", limit_bytes=60_000)
    found = []
    for turn in range(60):
        name, payload = f"{(turn + seed) % 7:02x}", bytes([(turn + seed) % 7]) * 9000
        kept.put(name, payload)
        read = kept.get(name)
        found.append(None if read in (None, payload) else read)
        kept.trim()
        time.sleep(0)
    return found


def test_processes_share_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        wrong = [
            read for found in pool.map(_race, [(path, seed) for seed in range(3)]) for read in found
        ]
    assert set(wrong) == {None}
    assert not [entry for entry in path.iterdir() if entry.name.startswith(".")]


def test_a_private_folder_is_opened_for_its_owner(tmp_path: Path) -> None:
    with private_folder(tmp_path / "new", create=True) as folder:
        assert folder is not None
        assert os.path.samestat(os.fstat(folder), (tmp_path / "new").stat())
    with pytest.raises(FileNotFoundError), private_folder(tmp_path / "missing"):
        pass
