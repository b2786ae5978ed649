"""The token of the hub: from HF_TOKEN or its file, checked, and never shown.

Knows nothing of requests.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from bigcode_cli.framework.errors import UsageFailure

_SENDABLE = re.compile(r"[\x21-\x7e]{1,500}")


@dataclass(frozen=True)
class Token:
    """A token that can be sent; its text appears in no representation."""

    text: str = field(repr=False)


def find_token() -> Token | None:
    """Return the user's token, None without one.

    Raises:
        UsageFailure: it has characters that no header can carry; the message does not show it.
    """
    variables = os.environ.get
    text = variables("HF_TOKEN") or variables("HUGGING_FACE_HUB_TOKEN") or ""
    source = "HF_TOKEN" if text.strip() else str(_token_file())
    text = text.strip() or _stored()
    if not text:
        return None
    if not _SENDABLE.fullmatch(text):
        raise UsageFailure(f"{source} has characters that cannot be sent", slug="auth")
    return Token(text)


def _token_file() -> Path:
    from bigcode_cli.hub.cache_reader import hub_home

    return Path(os.environ.get("HF_TOKEN_PATH") or hub_home() / "token").expanduser()


def _stored() -> str:
    try:
        return _token_file().read_bytes()[:1000].decode("utf-8", "replace").strip()
    except OSError:
        return ""
