"""The errors of talking to a hub, each with a slug that scripts can match.

Messages contain no text of a server or a library, which may repeat a token or a password.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bigcode_cli.framework.errors import Failure
from bigcode_cli.hub.network_settings import certificates_hint, proxies

if TYPE_CHECKING:
    import httpx2

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TIMEOUT, _TOO_MANY, _SERVER = 401, 403, 404, 408, 429, 500
_UNKNOWN_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 30, 60
_MAX_DIGITS = 9
_LATER = "try again later"
_LOGIN_PAGE = "is this the login page of a network?"


class RetryableError(Exception):
    """A request that may succeed if retried; `failure` is the error if it does not."""

    def __init__(
        self, failure: Failure, *, wait_seconds: float = 0.0, may_pass: bool = True
    ) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.wait_seconds = wait_seconds
        self.may_pass = may_pass


@contextmanager
def network_errors(host: str) -> Iterator[None]:
    """Translate the exceptions of the HTTP library.

    Raises:
        RetryableError: it may work again, or there is no connection at all.
        Failure: it will not, such as an untrusted certificate.
    """
    import httpx2

    try:
        yield
    except (httpx2.ConnectTimeout, httpx2.ReadTimeout, httpx2.WriteTimeout) as error:
        is_connecting = isinstance(error, httpx2.ConnectTimeout)
        raise no_answer(host, "connection" if is_connecting else "answer") from None
    except (httpx2.ProxyError, httpx2.ConnectError) as error:
        raise _no_connection(error, host) from None
    except httpx2.TransportError as error:
        message = f"{host}: the connection broke off ({_reason(error)})"
        raise RetryableError(Failure("network", message, hint=_LATER)) from None
    except (httpx2.HTTPError, httpx2.InvalidURL):
        raise Failure("hub-invalid", f"{host}: its answer is not HTTP") from None


def no_answer(host: str, what: str = "answer") -> RetryableError:
    """Describe a timeout."""
    return RetryableError(Failure("network", f"{host}: no {what} in time", hint=_LATER))


def refuse_web_page(response: "httpx2.Response", wanted: str) -> None:
    """Refuse a web page in place of a file.

    Raises:
        Failure: it is one.
    """
    if response.headers.get("content-type", "").startswith("text/html"):
        message = f"{response.url.host}: sends a web page instead of {wanted}"
        raise Failure("hub-invalid", message, hint=_LOGIN_PAGE)


def _no_connection(error: Exception, host: str) -> Exception:
    if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
        usual = "a wrong clock, or a program that reads encrypted traffic, looks like this"
        message = f"{host}: its certificate is refused ({_reason(error)})"
        return Failure("tls", message, hint=certificates_hint() or usual)
    variable, address = next(proxies(), (None, ""))
    way = f" through the proxy {urlsplit(address).netloc.rpartition('@')[2]}" if variable else ""
    message = f"{host}: cannot be reached{way} ({_reason(error)})"
    no_proxy = "HTTPS_PROXY can name a proxy, HF_ENDPOINT another hub"
    hint = f"{variable} names that proxy" if variable else no_proxy
    return RetryableError(Failure("offline", message, hint=hint), may_pass=False)


def _causes(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__


def _reason(error: BaseException) -> str:
    """Return the message of the operating system or of the certificate check."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return type(error).__name__


def refusal(response: "httpx2.Response", repository: str, *, sent_token: bool) -> Exception:
    """Describe an answer that is an error, by its status and the hub's own error code."""
    status, host = response.status_code, response.url.host
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        return _no_access(response, repository, sent_token=sent_token)
    if status == _NOT_FOUND:
        code = response.headers.get("x-error-code", "")
        hint = "check the name and the revision"
        what = {"RevisionNotFound": "revision", "EntryNotFound": "file"}.get(code, "repository")
        return Failure("not-found", f"{repository}: {host} has no such {what}", hint=hint)
    if status == _TOO_MANY:
        wait = _retry_after_seconds(response)
        hint = f"try again in {wait} s"
        failure = Failure("rate-limited", f"{host}: too many requests from here", hint=hint)
        return (
            failure if wait > _LONGEST_WAIT_SECONDS else RetryableError(failure, wait_seconds=wait)
        )
    if status >= _SERVER or status == _TIMEOUT:
        message = f"{host}: answers with error {status}"
        return RetryableError(Failure("hub-down", message, hint=_LATER))
    return Failure("hub-invalid", f"{host}: answers with status {status}")


def _retry_after_seconds(response: "httpx2.Response") -> int:
    """Read how long a server asks to wait."""
    text = response.headers.get("retry-after", "").strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if is_number else _UNKNOWN_WAIT_SECONDS


def _no_access(response: "httpx2.Response", repository: str, *, sent_token: bool) -> Failure:
    code, host = response.headers.get("x-error-code", ""), response.url.host
    if code == "GatedRepo":
        page = f"{response.url.scheme}://{response.url.netloc.decode()}/{repository}"
        hint = f"accept its licence at {page}, then set HF_TOKEN"
        return Failure("gated", f"{repository}: its licence must be accepted first", hint=hint)
    if sent_token:
        hint = "set HF_TOKEN to a token that may read it, or unset it"
        return Failure("auth", f"{repository}: {host} does not accept the token", hint=hint)
    if code == "RepoNotFound":
        hint = "check the name; a private repository needs HF_TOKEN"
        return Failure("not-found", f"{repository}: {host} has no such repository", hint=hint)
    hint = "set HF_TOKEN to a token that may read it"
    return Failure("auth", f"{repository}: {host} asks for a token", hint=hint)
