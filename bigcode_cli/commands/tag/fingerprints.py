"""Fingerprints recognize a finding without revealing its text.

A secret can be short, so the hash is scrypt, which is slow to guess against.
"""

import hashlib
from functools import lru_cache

DEFAULT_SALT = "bigcode"
"""The salt if neither the user nor a baseline gives one."""
_BYTES = 8
_SCRYPT = {"n": 1 << 11, "r": 8, "p": 1}  # 2 MiB and some milliseconds a guess


class Fingerprints:
    """Fingerprints with one salt, equal for equal labels and texts."""

    def __init__(self, salt: str) -> None:
        self._salt = salt.encode("utf-8", "surrogateescape")
        self.of = lru_cache(maxsize=4096)(self._of)

    def _of(self, label: str, text: str) -> str:
        salt = self._salt + b"\0" + label.encode("utf-8", "surrogateescape")
        data = text.encode("utf-8", "surrogateescape")
        return hashlib.scrypt(data, salt=salt, dklen=_BYTES, **_SCRYPT).hex()
