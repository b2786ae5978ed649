"""Keeps results of earlier calls in the user's cache folder, so that a rerun needs no model.

A result is any JSON document. It never contains the user's text: leave out everything that reveals
it, such as token ids and secrets. An entry is named by a hash of the text's hash and of its scope:
whatever else the result depends on.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Generic, TypeVar

from bigcode_cli import __version__
from bigcode_cli.files.sources import Source, document_of
from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.options import ComputeOptions, ModelOptions
from bigcode_cli.framework.settings import cache_folder
from gpt_bigcode.storage.disk_cache import DiskCache

LIMIT_BYTES, LIMIT_ENTRIES = 64 * 10**6, 8000
SUFFIX = ".json"
ENTRY_BYTES = 10**6
"""Larger results are not kept."""

_MODEL_FILES = frozenset({".json", ".safetensors"})
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_MACHINE_VARIABLES = (*_THREAD_VARIABLES, "CUDA_VISIBLE_DEVICES")


@dataclass
class ResultCache:
    """Results of one scope.

    Attributes:
        files: where they are; None: the cache is off.
        scope: a digest of everything but the text that the results depend on.
        writable: whether new ones are kept.
    """

    files: DiskCache | None
    scope: bytes
    writable: bool = True
    _has_written: bool = False

    @classmethod
    def open(cls, scope: Mapping[str, Any], *, enabled: bool = True) -> "ResultCache":
        """Open the results of a scope, which is any JSON document; see `model_scope`."""
        text = json.dumps({**scope, "version": __version__}, sort_keys=True)
        digest = blake2b(text.encode("utf-8", "surrogateescape")).digest()
        return cls(_disk_cache() if enabled else None, digest)

    def get(self, text_hash: bytes) -> Any | None:
        """Return the cached result for a text; None on a miss."""
        if self.files is None:
            return None
        payload = self.files.get(self._name(text_hash))
        return None if payload is None else json.loads(payload)

    def put(self, text_hash: bytes, value: Any) -> None:
        """Cache a result, unless it is too large or cannot be written."""
        if self.files is None or not self.writable:
            return
        payload = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
        if len(payload) <= ENTRY_BYTES:
            self._has_written |= self.files.put(self._name(text_hash), payload)

    def close(self) -> None:
        """Evict the least recently used results, if this process has added any."""
        if self.files is not None and self._has_written:
            self.files.trim()
            self._has_written = False

    def _name(self, text_hash: bytes) -> str:
        return blake2b(text_hash, key=self.scope, digest_size=24).hexdigest()


def model_scope(directory: Path, options: ModelOptions | ComputeOptions) -> dict[str, Any]:
    """Return what results depend on, besides text and the options of a command.

    The model's files are compared by name, device, inode, size and times, as in git's index: ctime
    cannot be set by users, so unchanged weights are recognized without being read.
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
    """Start a hash of the bytes of a text; its digest names the text."""
    return blake2b(digest_size=32)


def _version(package: str) -> str | None:
    from importlib import metadata  # slow to import, and the help needs none of it

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _disk_cache() -> DiskCache | None:
    """Return the user's result cache; None if there is no folder for it."""
    folder = cache_folder("results")
    if not folder.is_absolute():
        return None
    return DiskCache(
        path=folder,
        suffix=SUFFIX,
        limit_bytes=LIMIT_BYTES,
        limit_entries=LIMIT_ENTRIES,
    )


Value = TypeVar("Value")
Compute = Callable[[Iterable[Iterable[str]]], Iterator[Value | Exception]]


@dataclass(frozen=True)
class StoredForm(Generic[Value]):
    """How results are converted to JSON documents and back.

    Attributes:
        pack: a result -> a document, which must not reveal the text.
        unpack: the reverse; raises ValueError, TypeError or LookupError for any other document.
        is_whole: whether the result of an excerpt is that of the whole text, given its bytes.
    """

    pack: Callable[[Value], Any]
    unpack: Callable[[Any], Value]
    is_whole: Callable[[Value, int], bool] = lambda _value, _size: False


class CachedResults(Generic[Value]):
    """Yields results in input order, loading the model only for cache misses.

    A text is named by the hash of its bytes, and by the lines that are judged if not all are. One
    that cannot be read twice, such as a pipe, is always computed.

    Attributes:
        found: how many results were in the cache.
        counts_reading: whether what is read counts as processed; False: `compute` counts itself.
    """

    def __init__(
        self,
        texts: Sequence[Source],
        cache: ResultCache,
        form: StoredForm[Value],
        compute: Compute[Value],
        advance: Callable[[int], None],
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            texts: the texts.
            cache: where to look first.
            form: how results are stored there.
            compute: takes texts as lazy pieces or excerpts, and yields their results in order;
                called at the first cache miss.
            advance: told how many bytes were processed.
        """
        self.found = 0
        self.counts_reading = True
        self._texts = texts
        self._cache, self._form = cache, form
        self._compute = compute
        self._advance = advance
        self._known: dict[int, Value | Exception | None] = {}
        self._hashes: dict[int, tuple[bytes, int]] = {}  # of texts that were read, and their size

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
        self._cache.close()

    def _unknown(self, start: int) -> Iterator[Iterable[str]]:
        for place in range(start, len(self._texts)):
            if self._look_up(place) is None:
                advance = self._advance if self.counts_reading else _nothing
                yield document_of(self._texts[place], self._read(place, advance))

    def _read(self, place: int, advance: Callable[[int], None]) -> Iterator[str]:
        digest, size = hash_text(), 0
        for piece in self._texts[place].pieces(advance):
            data = piece.encode()
            digest.update(data)
            size += len(data)
            yield piece
        self._hashes[place] = digest.digest(), size

    def _look_up(self, place: int) -> Value | Exception | None:
        """Return the cached result or the error of a text; None on a miss."""
        if place not in self._known:
            self._known[place] = self._find(place)
        return self._known[place]

    def _find(self, place: int) -> Value | Exception | None:
        text = self._texts[place]
        if self._cache.files is None or not text.repeatable:
            return None
        try:
            for _ in self._read(place, _nothing):
                pass
        except Failure as error:
            return error
        outcome = self._kept(text, *self._hashes.pop(place))
        if outcome is not None:
            self.found += 1
            self._advance(text.size)
        return outcome

    def _kept(self, text: Source, digest: bytes, size: int) -> Value | None:
        own = self._unpacked(_name(text, digest))
        if own is not None or text.added is None:
            return own
        whole = self._unpacked(digest)
        # Added lines have the same values in the whole; what is around a place is less.
        fits = whole is not None and (text.past is not None or self._form.is_whole(whole, size))
        return whole if fits else None

    def _unpacked(self, name: bytes) -> Value | None:
        try:
            packed = self._cache.get(name)
            return None if packed is None else self._form.unpack(packed)
        except (ValueError, TypeError, LookupError):
            return None

    def _keep(self, place: int, outcome: Value | Exception) -> None:
        read = self._hashes.pop(place, None)
        if read is None or isinstance(outcome, Exception):
            return
        digest, size = read
        whole = self._form.is_whole(outcome, size)
        name = digest if whole else _name(self._texts[place], digest)
        self._cache.put(name, self._form.pack(outcome))


def _name(text: Source, digest: bytes) -> bytes:
    """What the result of a text is kept under."""
    lines = () if text.added is None else text.added
    return digest + b"".join(b" %d-%d" % (one.start, one.stop) for one in lines)


def _nothing(_: int) -> None:
    pass
