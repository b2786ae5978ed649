"""Keeps results of earlier calls in the user's cache folder, so that a rerun needs no model.

Knows nothing of what results mean: a value is any JSON document. It never holds text of a user, so
whoever stores one leaves out everything that the text could be made from: token ids, found secrets.

An entry is named by a hash of the text's hash and of its scope: whatever else the result depends
on. Nothing is ever changed in place, and an entry that is not whole counts as none; so processes
need no lock, and a damaged or deleted folder costs time only.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Generic, TypeVar

from bigcode_cli import __version__
from bigcode_cli.files.sources import Source
from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.options import ComputeOptions, ModelOptions

SHELF_BYTES, SHELF_ENTRIES = 4 * 10**6, 2000
"""The most that is kept on one of the 16 shelves, that is 64 MB and 32,000 results in all."""
ENTRY_BYTES = 10**6
"""Larger results are not kept."""

_PRIVATE = 0o700
_KEPT_SHARE = 0.8  # of a shelf, when it is tidied up
_UNFINISHED = ".new-"
_MODEL_FILES = frozenset({".json", ".safetensors"})
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_MACHINE_VARIABLES = (*_THREAD_VARIABLES, "CUDA_VISIBLE_DEVICES")


@dataclass
class ResultCache:
    """Results of one scope.

    Attributes:
        folder: where they lie; None: nothing is kept and nothing found.
        scope: a digest of everything but the text that the results depend on.
        writable: whether new ones are kept.
    """

    folder: Path | None
    scope: bytes
    writable: bool = True
    _used: set[Path] = field(default_factory=set)

    @classmethod
    def open(cls, scope: Mapping[str, Any], *, enabled: bool = True) -> "ResultCache":
        """The results of a scope, which is any JSON document; see `model_scope`.

        Never fails: a folder that is not there, cannot be made or belongs to someone else means
        that nothing is kept.
        """
        text = json.dumps({**scope, "version": __version__}, sort_keys=True)
        folder = _own_folder() if enabled else None
        return cls(folder, blake2b(text.encode("utf-8", "surrogateescape")).digest())

    def get(self, text_hash: bytes) -> Any | None:
        """What was kept for a text; None if there is nothing, or nothing whole."""
        path = self._path(text_hash)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                data = file.read(ENTRY_BYTES + 1)
        except OSError:
            return None
        checksum, _, payload = data.partition(b"\n")
        if checksum != _checksum(text_hash, payload):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # so that it is not the next to go
        return json.loads(payload)

    def put(self, text_hash: bytes, value: Any) -> None:
        """Keep a result; if that fails, or it is too large, it is computed again next time."""
        path = self._path(text_hash)
        if path is None or not self.writable:
            return
        payload = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
        data = b"%s\n%s" % (_checksum(text_hash, payload), payload)
        if len(data) > ENTRY_BYTES:
            return
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=_PRIVATE, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            self._used.add(path.parent)

    def close(self) -> None:
        """Throw away what was not used for longest, where this process has added something."""
        for shelf in self._used:
            with contextlib.suppress(OSError):
                _tidy(shelf)
        self._used.clear()

    def _path(self, text_hash: bytes) -> Path | None:
        if self.folder is None:
            return None
        name = blake2b(text_hash, key=self.scope, digest_size=24).hexdigest()
        return self.folder / name[0] / name[1:]


def model_scope(directory: Path, options: ModelOptions | ComputeOptions) -> dict[str, Any]:
    """What results depend on besides text and the options of a command.

    The model's files count by name, place, size, inode and times, as files do in git's index: the
    time of the last change of an inode cannot be set, so that weights need not be read to know
    that they are the same.
    """
    files, machine = [], os.uname()
    with contextlib.suppress(OSError):
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            if Path(entry.name).suffix in _MODEL_FILES and entry.is_file():
                s = entry.stat()
                times = s.st_mtime_ns, s.st_ctime_ns
                files.append([entry.name, s.st_dev, s.st_ino, s.st_size, *times])
    return {
        "model": [os.path.realpath(directory), files],
        "engine": [options.device, options.precision.value, options.threads],
        "packages": [_version("numpy"), _version("torch")],
        "machine": [machine.nodename, machine.machine, *map(os.environ.get, _MACHINE_VARIABLES)],
    }


def hash_text() -> "blake2b":
    """A hash to be fed with the bytes of a text; its digest names the text."""
    return blake2b(digest_size=32)


def _version(package: str) -> str | None:
    from importlib import metadata  # slow to import, and the help needs none of it

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _own_folder() -> Path | None:
    """The folder for results, made if need be; None if it would not be this user's alone."""
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("bigcode", appauthor=False)) / "results"
    try:
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        status = folder.stat()
        if status.st_uid != os.geteuid():
            return None
        if status.st_mode & ~_PRIVATE & 0o777:
            folder.chmod(_PRIVATE)
    except OSError:
        return None
    return folder


def _checksum(text_hash: bytes, payload: bytes) -> bytes:
    return blake2b(payload, key=text_hash, digest_size=16).hexdigest().encode()


def _tidy(shelf: Path) -> None:
    """Keep the newest entries of a shelf that has become too full."""
    found = []
    for entry in os.scandir(shelf):
        with contextlib.suppress(OSError):  # another process may be doing the same
            status = entry.stat(follow_symlinks=False)
            found.append((status.st_mtime_ns, status.st_size, entry.path))
    if len(found) <= SHELF_ENTRIES and sum(size for _, size, _ in found) <= SHELF_BYTES:
        return
    room, places = _KEPT_SHARE * SHELF_BYTES, _KEPT_SHARE * SHELF_ENTRIES
    for _, size, path in sorted(found, reverse=True):
        room, places = room - size, places - 1
        if room < 0 or places < 0:
            with contextlib.suppress(OSError):
                Path(path).unlink()


Value = TypeVar("Value")
Compute = Callable[[Iterable[Iterator[str]]], Iterator[Value | Exception]]


@dataclass(frozen=True)
class Memory(Generic[Value]):
    """Where results are kept, and in which form.

    Attributes:
        cache: where.
        pack: a result -> a JSON document; it must hold nothing that the text can be made from.
        unpack: the reverse; any of ValueError, TypeError and LookupError: it is not one of ours.
    """

    cache: ResultCache
    pack: Callable[[Value], Any]
    unpack: Callable[[Any], Value]


class Remembered(Generic[Value]):
    """Iterates over the results of texts; each is what `compute` gives, or gave in another call.

    A text is named by the hash of the bytes that were read for it. One that cannot be read twice,
    such as a pipe, is always computed.
    """

    def __init__(
        self,
        texts: Sequence[Source],
        memory: Memory[Value],
        compute: Compute[Value],
        advance: Callable[[int], None],
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            texts: what results are wanted of.
            memory: where to look first.
            compute: takes texts as pieces, lazily, and gives their results in order; it is called
                for the first text that has none yet, and never if all have.
            advance: told how many bytes were dealt with.
        """
        self.found = 0
        self._texts = texts
        self._memory = memory
        self._compute = compute
        self._advance = advance
        self._known: dict[int, Value | Exception | None] = {}
        self._hashes: dict[int, bytes] = {}

    def __iter__(self) -> Iterator[Value | Exception]:
        """Give the results."""
        computed: Iterator[Value | Exception] | None = None
        for place in range(len(self._texts)):
            outcome = self._look_up(place)
            if outcome is None:
                if computed is None:
                    computed = self._compute(self._unknown(place))
                outcome = next(computed)
                self._keep(place, outcome)
            del self._known[place]
            yield outcome
        self._memory.cache.close()

    def _unknown(self, start: int) -> Iterator[Iterator[str]]:
        for place in range(start, len(self._texts)):
            if self._look_up(place) is None:
                yield self._read(place, self._advance)

    def _read(self, place: int, advance: Callable[[int], None]) -> Iterator[str]:
        digest = hash_text()
        for piece in self._texts[place].pieces(advance):
            digest.update(piece.encode())
            yield piece
        self._hashes[place] = digest.digest()

    def _look_up(self, place: int) -> Value | Exception | None:
        """What is known of a text without a model, an error included; asked for once."""
        if place not in self._known:
            self._known[place] = self._find(place)
        return self._known[place]

    def _find(self, place: int) -> Value | Exception | None:
        text = self._texts[place]
        if self._memory.cache.folder is None or not text.repeatable:
            return None
        try:
            for _ in self._read(place, _nothing):
                pass
        except Failure as error:
            return error
        try:
            packed = self._memory.cache.get(self._hashes.pop(place))
            outcome = None if packed is None else self._memory.unpack(packed)
        except (ValueError, TypeError, LookupError):
            return None
        if outcome is not None:
            self.found += 1
            self._advance(text.size)
        return outcome

    def _keep(self, place: int, outcome: Value | Exception) -> None:
        digest = self._hashes.pop(place, None)
        if digest is not None and not isinstance(outcome, Exception):
            self._memory.cache.put(digest, self._memory.pack(outcome))


def _nothing(_: int) -> None:
    pass
