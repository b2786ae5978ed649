"""Downloads one file into a temporary file, resuming with Range after a drop.

It is accepted only with the size and the hash that the repository lists.
"""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bigcode_cli.framework.errors import Failure
from bigcode_cli.hub.checksums import new_hasher
from bigcode_cli.hub.client import Hub, wrong_hash
from bigcode_cli.hub.errors import RetryableError, refuse_web_page
from bigcode_cli.hub.progress import ByteProgress
from bigcode_cli.hub.repo_files import RemoteFile

if TYPE_CHECKING:
    import httpx2

_MAX_FAILURES = 3
_MAX_CONNECTIONS = 1000
_FIRST_DELAY_SECONDS = 0.5
_PARTIAL = 206
_CONTENT_RANGE = re.compile(r"bytes (\d{1,16})-")


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Downloads files of one commit.

    Attributes:
        hub: the source.
        repository: their repository.
        commit: their commit.
        known: hash -> content that was already read.
        progress: counts received bytes.
    """

    hub: Hub
    repository: str
    commit: str
    known: Mapping[str, bytes]
    progress: ByteProgress

    def fetch(self, file: RemoteFile, path: Path) -> None:
        """Write the file's content to `path` and check its hash.

        Raises:
            Failure: the hub refuses, the connection stays broken, or the hash is wrong.
        """
        with path.open("xb") as stream:
            part = _Part(file, stream, self.progress)
            if file.digest in self.known:
                part.write(self.known[file.digest])
            else:
                self._receive(part)
            stream.flush()
            os.fsync(stream.fileno())
        found = part.hasher.hexdigest()
        if found != file.digest:
            raise wrong_hash(file, found)

    def _receive(self, part: "_Part") -> None:
        url = self.hub.file_url(self.repository, self.commit, part.file.name)
        failures = 0
        for _ in range(_MAX_CONNECTIONS):
            before, problem = part.received, part.too_short()
            try:
                with self.hub.open_file(url, offset=before) as response:
                    part.begin(response)
                    for chunk in self.hub.session.chunks(response):
                        part.write(chunk)
            except RetryableError as error:
                problem = error.failure
                failures = 0 if part.received > before else failures
                time.sleep(error.wait_seconds)
            if part.received == part.file.size:
                return
            failures += 1
            if failures > _MAX_FAILURES:
                raise problem
            time.sleep(_FIRST_DELAY_SECONDS * 2 ** (failures - 1))
        raise part.too_short()


class _Part:
    """The part of a file that was received."""

    def __init__(self, file: RemoteFile, stream: BinaryIO, progress: ByteProgress) -> None:
        self.file = file
        self.received = 0
        self.hasher = new_hasher(file.digest, file.size)
        self._stream = stream
        self._progress = progress

    def begin(self, response: "httpx2.Response") -> None:
        """Check where a response starts; start over if the server does not resume."""
        if response.status_code == _PARTIAL:
            start = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
            if start is None or int(start[1]) != self.received:
                raise self._wrong_size("the server resumes at another place")
        elif self.received:
            self._progress.advance(-self.received)
            self.received = 0
            self.hasher = new_hasher(self.file.digest, self.file.size)
            self._stream.seek(0)
            self._stream.truncate()
        announced = response.headers.get("content-length", "")
        if announced.isdigit() and int(announced) != self.file.size - self.received:
            refuse_web_page(response, self.file.name)
            raise self._wrong_size(f"the server announces {int(announced):,} bytes")

    def write(self, chunk: bytes) -> None:
        """Take more of the content, up to the size that was listed."""
        if self.received + len(chunk) > self.file.size:
            raise self._wrong_size("the server sends more")
        self._stream.write(chunk)
        self.hasher.update(chunk)
        self.received += len(chunk)
        self._progress.advance(len(chunk))

    def too_short(self) -> Failure:
        """Describe a body that ended too early."""
        return self._wrong_size(f"the server sends only {self.received:,}")

    def _wrong_size(self, what: str) -> Failure:
        message = f"{self.file.name}: the repository lists {self.file.size:,} bytes, {what}"
        return Failure("network-size", message, hint="pull again")
