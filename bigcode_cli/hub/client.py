"""Requests to a hub, by its client library's session: bounded in time, size and destination.

Knows no cache. Nothing that a server sends is trusted; the token goes to the hub's own origin only,
and only after the hub has asked for it.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bigcode_cli import __version__
from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.framework.output import Notes
from bigcode_cli.hub.cache_reader import COMMIT
from bigcode_cli.hub.checksums import new_hasher
from bigcode_cli.hub.errors import (
    Interrupted,
    network_errors,
    no_answer,
    refusal,
    refuse_web_page,
    retry_after_seconds,
)
from bigcode_cli.hub.repo_files import RemoteFile, read_entries
from bigcode_cli.hub.timeouts import SpeedLimit, deadline

if TYPE_CHECKING:
    import httpx2

    from bigcode_cli.hub.token import Token

CONNECT_SECONDS = 10.0
SLOWEST_BYTES_PER_SECOND = 1024
PATIENCE_SECONDS = 60.0
_LONGEST_READ_SECONDS = 300.0
_LONGEST_WAIT_SECONDS = 60
_RETRY_DELAYS_SECONDS = (0.5, 1.0)
_MAX_REDIRECTS = 5
_MAX_PAGES = 1000
_MAX_ANSWER_BYTES = 16 << 20
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_ASKS_FOR_TOKEN = frozenset({401, 403})
_TOO_MANY_REQUESTS, _REDIRECTS, _ERROR = 429, frozenset({301, 302, 303, 307, 308}), 400


class Hub:
    """One hub, as HF_ENDPOINT names it.

    Attributes:
        host: its name, for messages.
    """

    def __init__(self, token: "Token | None", notes: Notes) -> None:
        self._client, self._endpoint = _session()
        self.host = self._endpoint.host
        self._token = token
        self._sends_token = False
        self._notes = notes

    def commit(self, repository: str, revision: str) -> str:
        """Look up the commit of a branch, a tag or a commit.

        Raises:
            Failure: the hub refuses, or what it says is no commit.
        """
        place = f"/api/models/{repository}/revision/{quote(revision, safe='')}"
        answer, _ = self._json(self._url(place), repository)
        commit = answer.get("sha") if isinstance(answer, dict) else None
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            raise Failure("hub-invalid", f"{self.host}: {str(commit)[:80]!r} is not a commit")
        return commit

    def files(self, repository: str, commit: str) -> dict[str, RemoteFile]:
        """List the files of a commit.

        Raises:
            Failure: the hub refuses, or what it lists cannot be.
        """
        place = f"/api/models/{repository}/tree/{commit}"
        url: httpx2.URL | None = self._url(place, recursive="true", expand="false")
        entries: list[Any] = []
        for _ in range(_MAX_PAGES):
            if url is None:
                return read_entries(entries)
            page, url = self._json(url, repository)
            if not isinstance(page, list):
                raise Failure("hub-invalid", f"{self.host}: its list of files is not one")
            entries += page
        raise Failure("hub-invalid", f"{self.host}: its list of files does not end")

    def content(self, repository: str, commit: str, file: RemoteFile, max_bytes: int) -> bytes:
        """Fetch a small file and check its hash.

        Raises:
            Failure: it is too large, the hub refuses, or the hash is another.
        """
        if file.size > max_bytes:
            raise Failure("repo-unsafe", f"{file.name}: {file.size:,} bytes are too many for it")
        data = self._patiently(
            lambda: self._small_body(self.file_url(repository, commit, file.name), repository)
        )
        hasher = new_hasher(file.digest, len(data))
        hasher.update(data)
        if hasher.hexdigest() != file.digest:
            raise wrong_hash(file, hasher.hexdigest())
        return data

    def file_url(self, repository: str, commit: str, name: str) -> "httpx2.URL":
        """Name the address of a file."""
        from huggingface_hub import hf_hub_url

        endpoint = str(self._endpoint).rstrip("/")
        return self._endpoint.join(hf_hub_url(repository, name, revision=commit, endpoint=endpoint))

    @contextmanager
    def open_file(
        self, url: "httpx2.URL", repository: str, *, offset: int = 0
    ) -> Iterator["httpx2.Response"]:
        """Ask for a file from a byte on; redirects to other hosts are followed without the token.

        Raises:
            Interrupted: the connection broke; it may work again.
            Failure: the server refuses.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._open(url, headers, may_leave=True) as response:
            self._refuse_errors(response, repository)
            yield response

    def chunks(self, response: "httpx2.Response") -> Iterator[bytes]:
        """Read an answer as it was sent, unless it comes too slowly.

        Raises:
            Interrupted: the connection broke.
            Failure: it is slower than the limit.
        """
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise Failure("hub-invalid", f"{response.url.host}: sends packed contents")
        limit = SpeedLimit(SLOWEST_BYTES_PER_SECOND, PATIENCE_SECONDS)
        with network_errors(response.url.host):
            for chunk in response.iter_raw():
                limit.count(len(chunk))
                yield chunk

    def _url(self, place: str, **query: str) -> "httpx2.URL":
        base = self._endpoint.copy_with(path=self._endpoint.path.rstrip("/") + "/")
        return base.join(f".{place}").copy_merge_params(query)

    def _json(self, url: "httpx2.URL", repository: str) -> tuple[Any, "httpx2.URL | None"]:
        """Fetch a JSON answer, and the address of its next page if there is one."""
        following: list[httpx2.URL] = []
        data = self._patiently(lambda: self._small_body(url, repository, following))
        try:
            return json.loads(data), following[-1] if following else None
        except (ValueError, RecursionError):
            message = f"{self.host}: does not answer like a hub"
            hint = "is there a login page between, or is HF_ENDPOINT wrong?"
            raise Failure("hub-invalid", message, hint=hint) from None

    def _small_body(
        self, url: "httpx2.URL", repository: str, following: "list[httpx2.URL] | None" = None
    ) -> bytes:
        is_api = following is not None
        data = bytearray()
        with self._open(url, {}, may_leave=not is_api) as response:
            self._refuse_errors(response, repository)
            refuse_web_page(response, "what was asked for")
            for chunk in self.chunks(response):
                data += chunk
                if len(data) > _MAX_ANSWER_BYTES:
                    raise Failure("hub-invalid", f"{self.host}: its answer does not end")
            if following is not None:
                following[:] = self._next_page(response)
        return bytes(data)

    def _next_page(self, response: "httpx2.Response") -> "list[httpx2.URL]":
        link = response.links.get("next", {}).get("url")
        if link is None:
            return []
        url = response.url.join(link)
        if not self._is_home(url):
            raise Failure("hub-invalid", f"{self.host}: continues its list on {url.host}")
        return [url]

    def _patiently(self, fetch: Callable[[], bytes]) -> bytes:
        """Try again what may work the next time: twice, after a short wait."""
        for delay in (*_RETRY_DELAYS_SECONDS, None):
            try:
                return fetch()
            except Interrupted as error:
                if delay is None or not error.may_pass:
                    raise error.failure from None
                time.sleep(error.wait_seconds or delay)
        raise AssertionError

    @contextmanager
    def _open(
        self, url: "httpx2.URL", headers: dict[str, str], *, may_leave: bool
    ) -> Iterator["httpx2.Response"]:
        response = self._send(url, headers)
        for _ in range(_MAX_REDIRECTS):
            if response.status_code in _ASKS_FOR_TOKEN and self._may_send_token(response.url):
                response.close()
                self._sends_token = True
                response = self._send(url, headers)
            target = self._redirect(response, may_leave=may_leave)
            if target is None:
                break
            response.close()
            url, response = target, self._send(target, headers)
        try:
            yield response
        finally:
            response.close()

    def _send(self, url: "httpx2.URL", headers: dict[str, str]) -> "httpx2.Response":
        if self._sends_token and self._token is not None and self._is_home(url):
            headers = {**headers, "Authorization": f"Bearer {self._token.text}"}
        request = self._client.build_request("GET", url, headers=headers)
        with network_errors(url.host), deadline(PATIENCE_SECONDS, lambda: no_answer(url.host)):
            return self._client.send(request, stream=True, follow_redirects=False)

    def _redirect(self, response: "httpx2.Response", *, may_leave: bool) -> "httpx2.URL | None":
        import httpx2

        location = response.headers.get("location")
        if response.status_code not in _REDIRECTS or location is None:
            return None
        try:
            target = response.url.join(location)
        except httpx2.InvalidURL:
            raise Failure("hub-invalid", f"{self.host}: redirects to no address") from None
        downgraded = response.url.scheme == "https" and target.scheme != "https"
        if target.scheme not in ("http", "https") or downgraded:
            raise Failure("hub-invalid", f"{self.host}: redirects to an unsafe address")
        if not may_leave and not self._is_home(target):
            message = f"{self.host}: is not a hub, it redirects to {target.host}"
            raise Failure("hub-invalid", message, hint="is there a login page between?")
        return target

    def _is_home(self, url: "httpx2.URL") -> bool:
        home = self._endpoint
        return (url.scheme, url.host, url.port) == (home.scheme, home.host, home.port)

    def _may_send_token(self, url: "httpx2.URL") -> bool:
        if self._token is None or self._sends_token or not self._is_home(url):
            return False
        if url.scheme == "http" and url.host not in _LOCAL_HOSTS:
            message = f"{url.host}: a token is not sent without encryption"
            raise UsageFailure(message, hint="let HF_ENDPOINT begin with https://", slug="auth")
        return True

    def _refuse_errors(self, response: "httpx2.Response", repository: str) -> None:
        if response.status_code < _ERROR and response.status_code not in _REDIRECTS:
            return
        failure = refusal(response, repository, self.host, sent_token=self._sends_token)
        wait = retry_after_seconds(response)
        if response.status_code == _TOO_MANY_REQUESTS and wait <= _LONGEST_WAIT_SECONDS:
            self._notes.note(f"{self.host} asks to wait {wait} s")
            raise Interrupted(failure, wait_seconds=wait)
        if failure.slug == "hub-down":
            raise Interrupted(failure)
        raise failure


def wrong_hash(file: RemoteFile, found: str) -> Failure:
    """Describe a file whose content is not what the repository lists."""
    message = f"{file.name}: its hash is {found}, the repository lists {file.digest}"
    hint = "the file was removed; pull again, and if it happens again distrust the network"
    return Failure("hash-mismatch", message, hint=hint)


def _session() -> "tuple[httpx2.Client, httpx2.URL]":
    """Set the client library up: its session with our limits, and the address of the hub.

    Raises:
        UsageFailure: one of its variables cannot be used.
    """
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # read when the library is imported
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    import httpx2

    try:
        from huggingface_hub import constants, get_session, set_client_factory
    except ValueError:  # it reads its variables when it is imported
        names = sorted(name for name in os.environ if name.startswith("HF_HUB_"))
        message = f"one of {', '.join(names)} is not a whole number"
        raise UsageFailure(message, slug="settings") from None
    try:
        endpoint = httpx2.URL(constants.ENDPOINT)
    except httpx2.InvalidURL:
        raise UsageFailure("HF_ENDPOINT is not an address", slug="settings") from None
    if endpoint.scheme not in ("http", "https") or not endpoint.host:
        message = "HF_ENDPOINT is not the address of a web server"
        raise UsageFailure(message, slug="settings")
    set_client_factory(_new_client)
    return get_session(), endpoint


def _new_client() -> "httpx2.Client":
    import httpx2

    timeout = httpx2.Timeout(_read_seconds(), connect=CONNECT_SECONDS)
    headers = {"User-Agent": f"bigcode/{__version__}", "Accept-Encoding": "identity"}
    return httpx2.Client(follow_redirects=False, timeout=timeout, headers=headers)


def _read_seconds() -> float:
    """How long a silent server is waited for: HF_HUB_DOWNLOAD_TIMEOUT, within reason."""
    try:
        seconds = float(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", ""))
    except ValueError:
        return CONNECT_SECONDS
    return seconds if 0 < seconds <= _LONGEST_READ_SECONDS else CONNECT_SECONDS
