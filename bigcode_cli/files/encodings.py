"""Decodes UTF-16 and Latin-1 for `tag`, which must not skip what it cannot read."""

import codecs
import re
from bisect import bisect_right
from typing import NamedTuple

_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_MARK_BYTES = 2
# What Python makes of bytes that are not UTF-8, and the characters that they are in Latin-1.
_FIRST_ESCAPED, _LAST_ESCAPED = 0xDC80, 0xDCFF
_LATIN_1 = {code: code - 0xDC00 for code in range(_FIRST_ESCAPED, _LAST_ESCAPED + 1)}
_RUNS_UTF_8 = re.compile("[\udc80-\udcff]+|[^\udc80-\udcff]+")
_RUNS_UTF_16 = re.compile("[\0-\x7f]+|[\x80-\u07ff]+|[\u0800-\uffff]+|[\U00010000-\U0010ffff]+")


class _Run(NamedTuple):
    """A run of characters of equal size.

    Attributes:
        start: its first byte in the text as UTF-8.
        place: its first byte in the file.
        size: of each of its characters in UTF-8.
        stored: of each of its characters in the file.
    """

    start: int
    place: int
    size: int
    stored: int


class AnyDecoder:
    """Decodes UTF-8, with each byte that is not UTF-8 as Latin-1; UTF-16 after its mark.

    Maps offsets in the text to offsets in the file. Never fails: half a character of UTF-16 becomes
    U+FFFD.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start at the beginning of a file."""
        self.encoding = ""
        self._head = b""
        self._decoder: codecs.IncrementalDecoder = codecs.getincrementaldecoder("utf-8")(
            "surrogateescape"
        )
        self._runs: list[_Run] = []
        self._start = self._place = self._size = 0

    def decode(self, data: bytes, *, final: bool = False) -> str:
        """Decode the next bytes of a file, without a byte order mark of UTF-16."""
        self._size += len(data)
        if not self.encoding:
            data, self._head = self._head + data, b""
            if len(data) < _MARK_BYTES and not final:
                self._head = data
                return ""
            data = self._begin(data)
        text = self._decoder.decode(data, final)
        self._remember(text)
        return text if self.is_plain or self.encoding != "utf-8" else text.translate(_LATIN_1)

    def file_offset(self, offset: int) -> int:
        """Return the offset in the file of the character at an offset in UTF-8."""
        at = bisect_right(self._runs, offset, key=lambda run: run.start) - 1
        if at < 0:
            return offset
        run = self._runs[at]
        return min(run.place + (offset - run.start) // run.size * run.stored, self._size)

    @property
    def is_plain(self) -> bool:
        """Whether all of the file so far is UTF-8, so that no offset differs."""
        return self.encoding in ("", "utf-8") and all(run.size == 1 for run in self._runs[:2])

    def encode(self, text: str) -> bytes:
        """Encode ASCII text as the file does."""
        return text.encode(self.encoding or "utf-8")

    def _begin(self, data: bytes) -> bytes:
        """Detect the encoding from the first bytes; return those after the byte order mark."""
        self.encoding = _MARKS.get(data[:_MARK_BYTES], "utf-8")
        if self.encoding == "utf-8":
            return data
        self._decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        self._place = _MARK_BYTES
        return data[_MARK_BYTES:]

    def _remember(self, text: str) -> None:
        wide = self.encoding != "utf-8"
        for found in (_RUNS_UTF_16 if wide else _RUNS_UTF_8).finditer(text):
            first, count = ord(found[0][0]), len(found[0])
            if wide:
                size = len(found[0][0].encode())
                self._append(count, size, 4 if size == 4 else 2)
            elif _FIRST_ESCAPED <= first <= _LAST_ESCAPED:
                self._append(count, 2, 1)
            else:
                self._append(len(found[0].encode()), 1, 1)

    def _append(self, count: int, size: int, stored: int) -> None:
        if not self._runs or self._runs[-1][2:] != (size, stored):
            self._runs.append(_Run(self._start, self._place, size, stored))
        self._start += count * size
        self._place += count * stored
