"""Keys and values of prompts' beginnings, kept in a folder for the next call; knows no torch.

A prompt is cut into the blocks in which its decoder reads it, and the state of each whole block is
a file. Its name is a hash of what the numbers depend on and of all tokens up to the block's end, so
that a call finds the longest beginning that it shares with any call before. Because the rest is
read in the same blocks as without the cache, every product has the same shapes and the same result,
bit for bit.
"""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, time

import numpy as np

from gpt_bigcode.backends.interfaces import BlockDecoder, Logits
from gpt_bigcode.checkpoint.tensor_index import CONFIG_FILE, weight_files

_MAGIC = b"bigcode prefix 2"  # to be counted up whenever the same tokens give other numbers
_SUFFIX = ".kv"
_DIGEST_BYTES = 16
_SAMPLES, _SAMPLE_BYTES = 64, 4096
_STALE_SECONDS = 3600.0
DEFAULT_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class PrefixFolder:
    """The files; every fault is a miss, and nothing here raises because of what it finds.

    Attributes:
        path: the folder; it is made, for its owner alone, when something is kept.
        limit_bytes: what all files together may take; those not used for longest go first.
        least_seconds: a block that is read faster than this is not kept.
    """

    path: Path
    limit_bytes: int = DEFAULT_LIMIT_BYTES
    least_seconds: float = 0.01

    def load(self, name: str, size: int) -> bytes | None:
        """Read what was kept; a file that is damaged is removed."""
        path = self.path / (name + _SUFFIX)
        try:
            with path.open("rb") as stream:
                data = stream.read(len(_MAGIC) + _DIGEST_BYTES + size + 1)
        except OSError:
            return None
        payload = data[len(_MAGIC) + _DIGEST_BYTES :]
        with contextlib.suppress(OSError):
            if len(payload) == size and data.startswith(_MAGIC + _digest(payload)):
                os.utime(path)
                return payload
            path.unlink()
        return None

    def keep(self, blocks: Sequence[tuple[str, bytes]]) -> None:
        """Write files, each as a whole, and remove what is too much."""
        with contextlib.suppress(OSError):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.path.stat()
            if found.st_uid != os.getuid():
                return
            if stat.S_IMODE(found.st_mode) != stat.S_IRWXU:
                self.path.chmod(stat.S_IRWXU)
            for name, payload in blocks:
                self._write(self.path / (name + _SUFFIX), payload)
            self._trim()

    def _write(self, path: Path, payload: bytes) -> None:
        handle, temporary = tempfile.mkstemp(dir=self.path, prefix=".")  # 0600
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(_MAGIC + _digest(payload))
                stream.write(payload)
            Path(temporary).rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise

    def _trim(self) -> None:
        files = []
        now = time()
        for entry in os.scandir(self.path):
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if entry.name.endswith(_SUFFIX):
                    files.append((found.st_mtime_ns, found.st_size, entry.path))
                elif entry.name.startswith(".") and now - found.st_mtime > _STALE_SECONDS:
                    Path(entry.path).unlink()  # left by a process that was killed
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.limit_bytes:
                break
            with contextlib.suppress(OSError):
                Path(path).unlink()
                total -= size


class PrefixDecoder:
    """A decoder that begins a prompt of one row with what is kept of it; `save` keeps the rest."""

    def __init__(self, decoder: BlockDecoder, folder: PrefixFolder, weights: str) -> None:
        """Wrap a decoder.

        Args:
            decoder: what computes.
            folder: where blocks are kept.
            weights: which weights they are, see `weights_identity`.
        """
        self.reused_tokens = 0
        self._decoder, self._folder, self._weights = decoder, folder, weights
        self._new: list[tuple[int, str]] = []  # blocks that are not kept yet

    @property
    def context_length(self) -> int:
        """The most tokens that a row may have."""
        return self._decoder.context_length

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self._decoder.vocabulary_size

    @property
    def exact_steps(self) -> bool:
        """Whether `extend` gives, bit for bit, what `decode` gives token by token."""
        return self._decoder.exact_steps

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Logits:
        """Forget everything and read one row per prompt. [B, V]."""
        self.reused_tokens, self._new = 0, []
        if len(prompts) != 1:
            return self._decoder.prefill(prompts)
        (prompt,) = prompts
        names = self._names(prompt)
        blocks: list[bytes] = []
        for name in names:
            block = self._folder.load(name, self._decoder.block_bytes)
            if block is None:
                break
            blocks.append(block)
        size = self._decoder.block_tokens
        self.reused_tokens = len(blocks) * size
        started = perf_counter()
        logits = self._decoder.prefill_behind(blocks, prompt)
        seconds = (perf_counter() - started) * size / (len(prompt) - self.reused_tokens)
        if seconds >= self._folder.least_seconds:
            self._new = list(enumerate(names))[len(blocks) :]
        return logits

    def save(self) -> None:
        """Keep the blocks of the last prompt; best done when its answer has been shown."""
        new, self._new = self._new, []
        if new:
            self._folder.keep([(name, self._decoder.block(index)) for index, name in new])

    def decode(self, tokens: Sequence[int]) -> Logits:
        """Append one token to each row. [B, V]."""
        return self._decoder.decode(tokens)

    def extend(self, tokens: Sequence[int]) -> Logits:
        """Append T tokens to the only row. [T, V]."""
        return self._decoder.extend(tokens)

    def truncate(self, length: int) -> None:
        """Forget all tokens of the only row after the first `length`."""
        self._decoder.truncate(length)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        self._decoder.keep(rows)

    def _names(self, prompt: Sequence[int]) -> list[str]:
        """One for each whole block before the prompt's last token, which is always read."""
        size = self._decoder.block_tokens
        about = [self._weights, self._decoder.identity, size, self._decoder.block_bytes]
        chain = hashlib.blake2b(json.dumps(about).encode(), digest_size=_DIGEST_BYTES)
        names = []
        for start in range(0, (len(prompt) - 1) // size * size, size):
            chain.update(np.asarray(prompt[start : start + size], "<i8").tobytes())
            names.append(chain.hexdigest())
        return names


def weights_identity(directory: Path) -> str:
    """A hash that is another one for other weights, without reading all of them.

    Name, size and time of every file, its beginning (with the names and shapes), samples all over
    it, and the configuration.

    Raises:
        CheckpointError: there are no weights.
        OSError: they cannot be read.
    """
    found = hashlib.blake2b((directory / CONFIG_FILE).read_bytes(), digest_size=_DIGEST_BYTES)
    for path in weight_files(directory):
        facts = path.stat()
        found.update(json.dumps([path.name, facts.st_size, facts.st_mtime_ns]).encode())
        with path.open("rb", buffering=0) as stream:
            for place in range(_SAMPLES):
                stream.seek(facts.st_size * place // _SAMPLES)
                found.update(stream.read(_SAMPLE_BYTES))
    return found.hexdigest()


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_DIGEST_BYTES).digest()
