"""Fingerprints recognize a finding without telling what was found.

A secret may be short: guessing it by trying words must be slow, so the hash is scrypt.
"""

import hashlib
from functools import lru_cache

DEFAULT_SALT = "bigcode"
"""Mixed in where neither the user nor a baseline gives another."""
_BYTES = 8
_SCRYPT = {"n": 1 << 11, "r": 8, "p": 1}  # 2 MiB and some milliseconds a guess


class Fingerprints:
    """Fingerprints with one salt: the same for the same label and text, wherever it is."""

    def __init__(self, salt: str) -> None:
        self._salt = salt.encode("utf-8", "surrogateescape")
        self.of = lru_cache(maxsize=4096)(self._of)

    def _of(self, label: str, text: str) -> str:
        salt = self._salt + b"\0" + label.encode("utf-8", "surrogateescape")
        data = text.encode("utf-8", "surrogateescape")
        return hashlib.scrypt(data, salt=salt, dklen=_BYTES, **_SCRYPT).hex()
