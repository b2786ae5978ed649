"""Asks a hub for commits, lists of files, and the contents of files.

Nothing that a hub sends is trusted: names, sizes and hashes are checked before they are used.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.output import Notes
from bigcode_cli.hub.cache_reader import COMMIT
from bigcode_cli.hub.checksums import new_hasher
from bigcode_cli.hub.errors import RetryableError
from bigcode_cli.hub.repo_files import RemoteFile, read_entries
from bigcode_cli.hub.session import open_session

if TYPE_CHECKING:
    import httpx2

_RETRY_DELAYS_SECONDS = (0.5, 1.0)
_MAX_PAGES = 1000
_ANSWER = TypeVar("_ANSWER")


class Hub:
    """One hub, as HF_ENDPOINT names it."""

    def __init__(self, notes: Notes) -> None:
        self.session = open_session()
        self.host = self.session.endpoint.host
        self._notes = notes
        self._endpoint = str(self.session.endpoint).rstrip("/")

    def commit(self, repository: str, revision: str) -> str:
        """Look up the commit of a branch, a tag or a commit.

        Raises:
            RetryableError: the hub cannot be reached.
            Failure: the hub refuses, or does not name a commit.
        """
        with self._hub_answers(repository):
            url = f"{self._endpoint}/api/models/{repository}/revision/{quote(revision, safe='')}"
            commit = self._patiently(lambda: self.session.get(url)).json()["sha"]
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            raise Failure("hub-invalid", f"{self.host}: names no commit")
        return commit

    def files(self, repository: str, commit: str) -> dict[str, RemoteFile]:
        """List the files of a commit.

        Raises:
            RetryableError: the hub cannot be reached.
            Failure: the hub refuses, or its list is invalid.
        """
        with self._hub_answers(repository):
            # From page to page, over our session.
            from huggingface_hub.utils import paginate  # type: ignore[attr-defined]

            url = f"{self._endpoint}/api/models/{repository}/tree/{commit}"
            query = {"recursive": "true", "expand": "false"}
            return self._patiently(lambda: read_entries(paginate(url, query, headers={})))

    def content(self, repository: str, commit: str, file: RemoteFile, max_bytes: int) -> bytes:
        """Fetch a small file and check its hash.

        Raises:
            RetryableError: the hub cannot be reached.
            Failure: it is too large, the hub refuses, or the hash is wrong.
        """
        if file.size > max_bytes:
            raise Failure("repo-unsafe", f"{file.name}: {file.size:,} bytes are too many for it")
        url = self.file_url(repository, commit, file.name)
        data = self._patiently(lambda: self.session.get(url)).content
        hasher = new_hasher(file.digest, len(data))
        hasher.update(data)
        if hasher.hexdigest() != file.digest:
            raise wrong_hash(file, hasher.hexdigest())
        return data

    def file_url(self, repository: str, commit: str, name: str) -> str:
        """Return the URL of a file."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(repository, name, revision=commit, endpoint=self._endpoint)

    @contextmanager
    def open_file(self, url: str, *, offset: int = 0) -> Iterator["httpx2.Response"]:
        """Request a file from a byte on; redirects to other hosts are followed without the token.

        Raises:
            RetryableError: the connection broke; it may work again.
            Failure: the server refuses.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self.session.stream("GET", url, headers=headers) as response:
            yield response

    def refuse_token(self, text: str, what: str) -> None:
        """Refuse a text that messages quote if it repeats the token.

        Raises:
            Failure: it does.
        """
        if self.session.token.is_in(text):
            raise Failure("hub-invalid", f"{self.host}: sends our token back as {what}")

    @contextmanager
    def _hub_answers(self, repository: str) -> Iterator[None]:
        """Keep requests on the hub, and refuse answers that are not from its API."""
        self.session.repository = repository
        try:
            with self.session.at_home(_MAX_PAGES):
                yield
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            message = f"{self.host}: does not answer like a hub"
            hint = "is this a login page, or is HF_ENDPOINT wrong?"
            raise Failure("hub-invalid", message, hint=hint) from None

    def _patiently(self, fetch: Callable[[], _ANSWER]) -> _ANSWER:
        """Retry twice, after a short wait."""
        for delay in _RETRY_DELAYS_SECONDS:
            try:
                return fetch()
            except RetryableError as error:
                if not error.may_pass:
                    raise
                if error.wait_seconds:
                    self._notes.note(f"{self.host} asks to wait {error.wait_seconds} s")
                time.sleep(error.wait_seconds or delay)
        return fetch()


def wrong_hash(file: RemoteFile, found: str) -> Failure:
    """Describe a file whose hash is not the published one."""
    message = f"{file.name}: its hash is {found}, the repository lists {file.digest}"
    hint = "the file was removed; pull again, and if it happens again distrust the network"
    return Failure("hash-mismatch", message, hint=hint)
