"""What can go wrong between us and a hub, each in two lines with a name that scripts can match.

Knows neither requests nor the cache. No text of a server or of a library gets into a message,
since either may repeat a token or the password of a proxy.
"""

import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bigcode_cli.framework.errors import Failure

if TYPE_CHECKING:
    import httpx2

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TIMEOUT, _TOO_MANY, _SERVER = 401, 403, 404, 408, 429, 500
_UNKNOWN_WAIT_SECONDS = 30


class Interrupted(Exception):  # noqa: N818  # not an error as long as there are tries left
    """A request that may succeed when it is tried again; `failure` is what to say if not."""

    def __init__(
        self, failure: Failure, *, wait_seconds: float = 0.0, may_pass: bool = True
    ) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.wait_seconds = wait_seconds
        self.may_pass = may_pass


@contextmanager
def network_errors(host: str) -> Iterator[None]:
    """Turn what the HTTP library raises into `Interrupted`.

    Raises:
        Interrupted: it may work again, or there is no connection at all.
        Failure: it will not, such as a wrong certificate.
    """
    import httpx2

    try:
        yield
    except (httpx2.ConnectTimeout, httpx2.ReadTimeout, httpx2.WriteTimeout) as error:
        waited = "connect" if isinstance(error, httpx2.ConnectTimeout) else "answer"
        raise Interrupted(
            Failure("network", f"{host}: no {waited} in time", hint="try again later")
        ) from None
    except (httpx2.ProxyError, httpx2.ConnectError) as error:
        raise _no_connection(error, host) from None
    except httpx2.TransportError as error:
        message = f"{host}: the connection broke off ({_reason(error)})"
        raise Interrupted(Failure("network", message, hint="try again later")) from None
    except (httpx2.HTTPError, httpx2.InvalidURL):
        raise Failure("hub-invalid", f"{host}: its answer is not HTTP") from None


def no_answer(host: str) -> Interrupted:
    """Describe a server that lets us wait too long."""
    return Interrupted(Failure("network", f"{host}: no answer in time", hint="try again later"))


def refuse_web_page(response: "httpx2.Response", wanted: str) -> None:
    """Refuse a page for people where a file was asked for.

    Raises:
        Failure: it is one.
    """
    if response.headers.get("content-type", "").startswith("text/html"):
        message = f"{response.url.host}: sends a web page instead of {wanted}"
        raise Failure("hub-invalid", message, hint="is there a login page between?")


def _no_connection(error: Exception, host: str) -> Exception:
    if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
        hint = "a wrong clock, or a program that reads encrypted traffic, looks like this"
        return Failure("tls", f"{host}: its certificate is refused ({_reason(error)})", hint=hint)
    proxy = _proxy()
    if proxy is not None:
        message = f"{host}: cannot be reached through the proxy {proxy} ({_reason(error)})"
        return Interrupted(Failure("offline", message), may_pass=False)
    message = f"{host}: cannot be reached ({_reason(error)})"
    return Interrupted(Failure("offline", message), may_pass=False)


def _causes(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__


def _reason(error: BaseException) -> str:
    """Find the words of the operating system or of the certificate check."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return type(error).__name__


def _proxy() -> str | None:
    """Name the proxy that the environment asks for, without user and password."""
    address = urllib.request.getproxies().get("https") or urllib.request.getproxies().get("http")
    if not address:
        return None
    parts = urlsplit(address if "//" in address else f"//{address}")
    return parts.netloc.rpartition("@")[2]


def retry_after_seconds(response: "httpx2.Response") -> int:
    """Read for how long a server asks to be left alone."""
    text = response.headers.get("retry-after", "").strip()
    return (
        int(text)
        if text.isascii() and text.isdigit() and len(text) < len("1" * 10)
        else (_UNKNOWN_WAIT_SECONDS)
    )


def refusal(
    response: "httpx2.Response", repository: str, host: str, *, sent_token: bool
) -> Failure:
    """Describe an answer that is an error."""
    status, code = response.status_code, response.headers.get("x-error-code", "")
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        return _no_access(response, repository, host, sent_token=sent_token)
    if status == _NOT_FOUND:
        what = {"RevisionNotFound": "revision", "EntryNotFound": "file"}.get(code, "repository")
        hint = "check the name and the revision"
        return Failure("not-found", f"{repository}: {host} has no such {what}", hint=hint)
    if status == _TOO_MANY:
        wait = retry_after_seconds(response)
        hint = f"try again in {wait} s"
        return Failure("rate-limited", f"{host}: too many requests from here", hint=hint)
    if status >= _SERVER or status == _TIMEOUT:
        return Failure("hub-down", f"{host}: answers with error {status}", hint="try again later")
    return Failure("hub-invalid", f"{host}: answers with status {status}")


def _no_access(
    response: "httpx2.Response", repository: str, host: str, *, sent_token: bool
) -> Failure:
    code = response.headers.get("x-error-code", "")
    address = f"{response.url.scheme}://{response.url.netloc.decode()}/{repository}"
    if code == "GatedRepo":
        hint = f"accept its licence at {address}, then set HF_TOKEN"
        return Failure("gated", f"{repository}: its owner asks for an agreement", hint=hint)
    if sent_token:
        hint = "set HF_TOKEN to a token that may read it, or unset it"
        return Failure("auth", f"{repository}: {host} does not accept the token", hint=hint)
    if code == "RepoNotFound":
        hint = "check the name; a private repository needs HF_TOKEN"
        return Failure("not-found", f"{repository}: {host} has no such repository", hint=hint)
    hint = "set HF_TOKEN to a token that may read it"
    return Failure("auth", f"{repository}: {host} asks who you are", hint=hint)
