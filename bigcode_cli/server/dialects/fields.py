"""Validates the JSON of requests: errors name the field, unknown fields are ignored."""

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from gpt_bigcode.reading import parse_json

MAX_TOKENS = 100_000


class BadRequestError(Exception):
    """An invalid request; the message names the field and what was expected."""

    def __init__(self, message: str, *, status: int = 400, slug: str = "invalid_request") -> None:
        super().__init__(message)
        self.status, self.slug = status, slug


def parse_body(data: bytes) -> "Fields":
    """Read a request's body.

    Raises:
        BadRequestError: it is no JSON object in UTF-8, or not within the bounds of `parse_json`.
    """
    if data.startswith(BOM_UTF8):
        raise BadRequestError("body: not valid JSON: it begins with a byte order mark")
    try:
        document = parse_json(data, halves=True)
    except ValueError as error:
        raise BadRequestError(f"body: {error}") from None
    if not isinstance(document, dict):
        raise BadRequestError("body: expected an object")
    return Fields(document)


class Fields:
    """An object of a request; null counts as missing."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self.values = values
        self._path = path

    def __contains__(self, name: str) -> bool:
        """Whether a field is there."""
        return self.values.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """A text of valid Unicode."""
        value = self._get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return self._checked(name, value)

    def maybe_text(self, name: str) -> str | None:
        """A text, or None if it is missing."""
        return self.text(name) if name in self else None

    def whole(self, name: str, default: int | None = None, *, low: int = 0, high: int) -> int:
        """A whole number; one that is written as 3.0 counts."""
        value = self._get(name, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._wrong(name, f"a whole number from {low} to {high}")
        return value

    def number(
        self, name: str, default: float | None = None, *, low: float = 0.0, high: float
    ) -> float:
        """A finite number."""
        value = self._get(name, default)
        plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not plain or not isfinite(value) or not low <= value <= high:
            raise self._wrong(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A truth value."""
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A text or a list of texts; empty ones are left out."""
        value = self._get(name, ())
        items = (value,) if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not all(isinstance(i, str) for i in items):
            raise self._wrong(name, "a string or a list of strings")
        return tuple(self._checked(name, item) for item in items if item)

    def objects(self, name: str) -> list["Fields"]:
        """A list of objects."""
        value = self._get(name, ())
        if not isinstance(value, (list, tuple)) or not all(isinstance(i, dict) for i in value):
            raise self._wrong(name, "a list of objects")
        where = f"{self._path}{name}"
        return [Fields(item, f"{where}[{place}].") for place, item in enumerate(value)]

    def object(self, name: str) -> "Fields":
        """An object; an empty one if it is missing."""
        value = self._get(name, {})
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return Fields(value, f"{self._path}{name}.")

    def one_of(self, name: str, choices: Sequence[str], default: str | None = None) -> str | None:
        """One of some words, or the default."""
        value = self.values.get(name)
        if value is None:
            return default
        if value not in choices:
            raise self._wrong(name, f"one of {', '.join(choices)}")
        return str(value)

    def _get(self, name: str, default: Any) -> Any:
        value = self.values.get(name)
        if value is None:
            value = default
        if value is None:
            raise BadRequestError(f"{self._path}{name}: missing")
        return value

    def _wrong(self, name: str, expected: str) -> BadRequestError:
        return BadRequestError(f"{self._path}{name}: expected {expected}")

    def _checked(self, name: str, value: str) -> str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadRequestError(f"{self._path}{name}: a lone surrogate is no text") from None
        return value
