"""Reads the environment's network settings: HF_ENDPOINT, proxies, certificates, the token.

Errors name the variable and never show its value, which may contain a password.
"""

import os
import re
import ssl
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from bigcode_cli.framework.errors import Failure, UsageFailure

SLUG = "network-settings"
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_SENDABLE = re.compile(r"[\x21-\x7e]{1,500}")


def hub_address() -> str:
    """Return the address of the hub.

    Raises:
        UsageFailure: HF_ENDPOINT is not a URL, or a variable of `huggingface_hub` not a number.
    """
    address = os.environ.get("HF_ENDPOINT")
    if address and not _is_address(address, ("http", "https")):
        raise UsageFailure("HF_ENDPOINT: is not the address of a web server", slug="settings")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # both are read when the library is imported
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    try:
        from huggingface_hub import constants
    except ValueError as error:
        names = [
            name
            for name, value in os.environ.items()
            if name.startswith("HF_") and repr(value) in str(error)
        ]
        blamed = " or ".join(names) or "a variable HF_..."
        raise UsageFailure(f"{blamed}: is not a whole number", slug="settings") from None
    return str(constants.ENDPOINT)


def find_token() -> str | None:
    """Return the user's token, as the hub's own tools find it; None without one.

    Raises:
        UsageFailure: it cannot be read, or has characters that no header can carry.
    """
    from huggingface_hub import get_token

    try:
        token = get_token()
    except Exception as error:  # noqa: BLE001  # a login that failed, a file that is unreadable
        message = f"the token cannot be read ({type(error).__name__})"
        raise UsageFailure(message, hint="set HF_TOKEN", slug="auth") from None
    if token is not None and not _SENDABLE.fullmatch(token):
        source = "HF_TOKEN" if os.environ.get("HF_TOKEN") else "the stored token"
        raise UsageFailure(f"{source} has characters that cannot be sent", slug="auth")
    return token


def check_proxies() -> None:
    """Refuse a proxy that cannot be used, before any request.

    Raises:
        Failure: `network-settings`, with the variable's name.
    """
    for variable, address in proxies():
        scheme = urlsplit(address).scheme
        if scheme.startswith("socks5") and find_spec("socksio") is None:
            hint = "pip install 'bigcode-cli[socks]' installs it"
            message = f"{variable}: a SOCKS proxy needs the package socksio"
            raise Failure(SLUG, message, hint=hint)
        if not _is_address(address, ("http", "https", "socks5", "socks5h")):
            hint = "a proxy is http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT"
            raise Failure(SLUG, f"{variable}: is not the address of a proxy", hint=hint)


def proxies() -> Iterator[tuple[str, str]]:
    """Iterate over the variables that name a proxy, and its address."""
    for scheme, address in urllib.request.getproxies().items():
        if scheme in ("http", "https", "all") and address:
            lower = f"{scheme}_proxy"
            name = lower if os.environ.get(lower) else lower.upper()
            yield name, address if "://" in address else f"http://{address}"


def certificates_hint() -> str | None:
    """Name the variable that says which certificates are trusted, if there is one."""
    named = [name for name in _CERTIFICATES if os.environ.get(name)]
    return f"{named[0]} says which certificates are trusted" if named else None


def environment_failure(error: Exception) -> Failure:
    """Describe why no client could be built: certificates, or a proxy that nothing else caught."""
    named = [name for name in _CERTIFICATES if os.environ.get(name)]
    if isinstance(error, (ssl.SSLError, OSError)) and named:
        is_certificate = isinstance(error, ssl.SSLError) or not error.strerror
        reason = "holds no certificates" if is_certificate else error.strerror
        return Failure(SLUG, f"{named[0]}: {reason}", hint=f"unset {named[0]}, or correct it")
    names = [name for name, _ in proxies()] + ["NO_PROXY"]
    return Failure(SLUG, f"{', '.join(names)}: cannot be used ({type(error).__name__})")


def _is_address(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is no number or above 65535, brackets that do not close
        return False
