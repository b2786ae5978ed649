"""The HTTP session for one hub: bounded in time and size, and careful with the token."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from bigcode_cli import __version__
from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.hub.errors import network_errors, no_answer, refusal, refuse_web_page
from bigcode_cli.hub.network_settings import (
    check_proxies,
    environment_failure,
    find_token,
    hub_address,
)
from bigcode_cli.hub.timeouts import SpeedLimit, deadline

CONNECT_SECONDS = 10.0
SLOWEST_BYTES_PER_SECOND = 1024
PATIENCE_SECONDS = 60.0
MAX_ANSWER_BYTES = 16 << 20
_LONGEST_READ_SECONDS = 300.0
_MAX_REDIRECTS = 5
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_ASKS_FOR_TOKEN = frozenset({401, 403})
_DEFAULT = httpx2.USE_CLIENT_DEFAULT


class HubSession(httpx2.Client):
    """Sends every request to a hub, including those of `huggingface_hub`.

    Attributes:
        endpoint: the hub's address.
        repository: the repository that is requested, for messages.
        token: knows the token, and whether the hub asked for it.
    """

    def __init__(self, endpoint: httpx2.URL, token: str | None) -> None:
        super().__init__(
            follow_redirects=True,
            max_redirects=_MAX_REDIRECTS,
            timeout=httpx2.Timeout(_read_seconds(), connect=CONNECT_SECONDS),
            event_hooks={"request": [self._check_address]},
        )
        self.endpoint = endpoint
        self.repository = ""
        self.token = TokenOnDemand(token, self.is_home)
        self.auth = self.token
        self._requests_left: int | None = None

    def is_home(self, url: httpx2.URL) -> bool:
        """Tell whether a URL is on the hub itself."""
        home = self.endpoint
        return (url.scheme, url.host, url.port) == (home.scheme, home.host, home.port)

    @contextmanager
    def at_home(self, max_requests: int) -> Iterator[None]:
        """Keep requests, redirects and next pages on the hub, and limit their number."""
        self._requests_left = max_requests
        try:
            yield
        finally:
            self._requests_left = None

    def send(
        self,
        request: httpx2.Request,
        *,
        stream: bool = False,
        auth: Any = _DEFAULT,
        follow_redirects: Any = _DEFAULT,
    ) -> httpx2.Response:
        """Send a request and refuse every answer that is an error.

        Raises:
            RetryableError: it may succeed when it is tried again.
            Failure: it will not.
        """
        request.extensions = {**request.extensions, "timeout": self.timeout.as_dict()}
        request.headers["User-Agent"] = f"bigcode/{__version__}"
        request.headers["Accept-Encoding"] = "identity"
        host = request.url.host
        with network_errors(host), deadline(PATIENCE_SECONDS, lambda: no_answer(host)):
            response = super().send(
                request, stream=True, auth=auth, follow_redirects=follow_redirects
            )
        try:
            self._refuse_error(response)
            return response if stream else self._read(response)
        except BaseException:
            response.close()
            raise

    def _refuse_error(self, response: httpx2.Response) -> None:
        if not response.is_success:
            raise refusal(response, self.repository, sent_token=self.token.is_sent)

    def chunks(self, response: httpx2.Response) -> Iterator[bytes]:
        """Iterate over a body as it was sent.

        Raises:
            RetryableError: the connection broke.
            Failure: it is compressed, or slower than the limit.
        """
        host = response.url.host
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise Failure("hub-invalid", f"{host}: sends compressed contents unasked")
        limit = SpeedLimit(SLOWEST_BYTES_PER_SECOND, PATIENCE_SECONDS)
        with network_errors(host):
            for chunk in response.iter_raw():
                limit.count(len(chunk))
                yield chunk

    def _read(self, response: httpx2.Response) -> httpx2.Response:
        """Read a small body, within bounds."""
        refuse_web_page(response, "what was asked for")
        data = bytearray()
        for chunk in self.chunks(response):
            data += chunk
            if len(data) > MAX_ANSWER_BYTES:
                raise Failure("hub-invalid", f"{response.url.host}: its answer does not end")
        response.close()
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            content=bytes(data),
            request=response.request,
        )

    def _check_address(self, request: httpx2.Request) -> None:
        """Check every request, including redirects and next pages."""
        url, home = request.url, self.endpoint
        if url.scheme not in ("http", "https") or (home.scheme == "https" and url.scheme == "http"):
            raise Failure("hub-invalid", f"{home.host}: redirects to an unsafe address")
        if self._requests_left is None:
            return
        if not self.is_home(url):
            message = f"{home.host}: does not answer as a hub, it points to another host"
            raise Failure("hub-invalid", message, hint="is this the login page of a network?")
        if self._requests_left == 0:
            raise Failure("hub-invalid", f"{home.host}: its list of files does not end")
        self._requests_left -= 1


class TokenOnDemand(httpx2.Auth):
    """Sends the token to the hub's own origin only, and only after the hub has asked for it.

    Attributes:
        is_sent: whether the hub asked, so that requests carry the token from now on.
    """

    def __init__(self, token: str | None, is_home: Callable[[httpx2.URL], bool]) -> None:
        self._token = token
        self._is_home = is_home
        self.is_sent = False

    def is_in(self, text: str) -> bool:
        """Tell whether a text that came from a server repeats the token."""
        return self._token is not None and self._token.lower() in text.lower()

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send a request, and again with the token if that is asked for."""
        if self.is_sent and self._is_home(request.url):
            self._sign(request)
        response = yield request
        asks = response.status_code in _ASKS_FOR_TOKEN and self._is_home(response.url)
        if asks and self._token is not None and not self.is_sent:
            self._refuse_plain_text(response.url)
            self.is_sent = True
            self._sign(request)
            yield request

    def _sign(self, request: httpx2.Request) -> None:
        request.headers["Authorization"] = f"Bearer {self._token}"

    @staticmethod
    def _refuse_plain_text(url: httpx2.URL) -> None:
        if url.scheme == "http" and url.host not in _LOCAL_HOSTS:
            message = f"{url.host}: the token is not sent over an unencrypted connection"
            raise UsageFailure(message, hint="HF_ENDPOINT must begin with https://", slug="auth")


def open_session() -> HubSession:
    """Build the session for the hub that HF_ENDPOINT names, and have `huggingface_hub` use it.

    Raises:
        UsageFailure: HF_ENDPOINT, another variable of the hub's tools or the token is unusable.
        Failure: `network-settings`: a variable for proxies or certificates is; it is named.
    """
    endpoint = hub_address()
    check_proxies()
    token = find_token()
    try:
        session = HubSession(httpx2.URL(endpoint), token)
    except (OSError, ValueError, ImportError, httpx2.InvalidURL) as error:
        raise environment_failure(error) from None
    from huggingface_hub import set_client_factory

    set_client_factory(lambda: session)
    return session


def _read_seconds() -> float:
    """Return the read timeout: HF_HUB_DOWNLOAD_TIMEOUT, within bounds."""
    try:
        seconds = float(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", ""))
    except ValueError:
        return CONNECT_SECONDS
    return seconds if 0 < seconds <= _LONGEST_READ_SECONDS else CONNECT_SECONDS
