"""Where a text ends, and why: stop texts, the loop guard, and what else watches it grow.

`TextStop` takes token bytes and gives the text that may be shown. However the bytes are cut into
pieces, the joined text is the same. The ends of scopes and suffixes are in `scope` and `suffix`.
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from gpt_bigcode.stopping.scope import ScopeRule
    from gpt_bigcode.stopping.suffix import SuffixOverlap


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"  # an end token, a stop text, or the end of the scope
    LENGTH = "length"  # max_tokens, or no position is left
    TIME = "time"  # the time budget is spent
    SUFFIX = "suffix"  # what already follows the cursor began
    REPETITION = "repetition"  # a loop was cut


class Scope(StrEnum):
    """How far to complete.

    LINE: to the end of the first line with something on it; a line break before it does not count.
    BLOCK: while lines are indented like the cursor's, or more than the header that opened the block
        there. At the top level: to a blank line, or to the end of the first indented part.
    FUNCTION: to the end of the function around the cursor, else of the first one that is written.
    FILE: to the end of the text.

    A bracket or word that closes the scope (`}`, `)`, `fi`, `done`, `end`) belongs to it, the line
    break after its last line does not.
    """

    LINE = "line"
    BLOCK = "block"
    FUNCTION = "function"
    FILE = "file"


@dataclass(frozen=True)
class Cut:
    """A text has to end: known after `seen` characters, of which `keep` stay."""

    seen: int
    keep: int


class Watcher(Protocol):
    """Reads a text as it grows and says where it has to end.

    `safe` is how many characters may be shown, whatever follows.
    """

    reason: FinishReason
    safe: int

    def feed(self, text: str) -> Cut | None:
        """Read the next piece."""
        ...

    def close(self) -> Cut | None:
        """Nothing follows."""
        ...


class StopMatcher:
    """Finds the first stop text to be complete (of several at once: the longest).

    Only a tail that can still become a stop text is held back.
    """

    reason = FinishReason.STOP

    def __init__(self, stops: Sequence[str]) -> None:
        self.safe = 0
        self._stops = tuple(stops)
        self._prefixes = {stop[:size] for stop in stops for size in range(1, len(stop))}
        self._reach = max((len(stop) for stop in stops), default=1) - 1
        self._tail = ""
        self._seen = 0

    def feed(self, text: str) -> Cut | None:
        """See `Watcher`."""
        window = self._tail + text
        offset = self._seen - len(self._tail)
        self._seen += len(text)
        found = [
            (start + len(stop), start) for stop in self._stops if (start := window.find(stop)) >= 0
        ]
        if found:
            end, start = min(found)
            return Cut(offset + end, offset + start)
        self._tail = window[max(len(window) - self._reach, 0) :]
        sizes = range(len(self._tail), 0, -1)
        held = next((size for size in sizes if self._tail[-size:] in self._prefixes), 0)
        self.safe = self._seen - held
        return None

    def close(self) -> Cut | None:
        """Part of a stop text does not end the text."""
        return None


class TextStop:
    """Joins the parts: bytes in, text to show out, until one of the watchers ends it.

    `reason` is None while the text may go on. Of several ends, that one counts whose last
    character came first. No text ends between the two characters of a CRLF: the carriage return
    waits for its line feed, and goes with it.
    """

    def __init__(
        self,
        stops: Sequence[str] = (),
        scope: "ScopeRule | None" = None,
        overlap: "SuffixOverlap | None" = None,
    ) -> None:
        self.reason: FinishReason | None = None
        self._overlap = overlap
        self._characters = Utf8Stream()
        self._watchers: list[Watcher] = [
            RepetitionGuard(breaks=overlap is None or not overlap.begins_a_line)
        ]
        if stops:
            self._watchers.append(StopMatcher(stops))
        if scope is not None:
            self._watchers.append(scope)
        if overlap is not None:
            self._watchers.append(overlap)
        self._waiting = ""
        self._shown = 0

    def feed(self, data: bytes) -> str:
        """The text that may be shown now; nothing after the end."""
        text = self._characters.feed(data)
        if self.reason is not None or not text:
            return ""
        self._waiting += text
        ends = [(watcher.feed(text), watcher.reason) for watcher in self._watchers]
        if self._end(ends):
            return self._show(self._limit)
        return self._show(min(watcher.safe for watcher in self._watchers))

    def close(self) -> str:
        """Nothing follows: what was held back and does not belong to an end."""
        if self.reason is not None:
            return ""
        ends = [(watcher.close(), watcher.reason) for watcher in self._watchers]
        if self._end(ends):
            return self._show(self._limit)
        return self._show(self._shown + len(self._waiting))

    def _end(self, ends: Sequence[tuple[Cut | None, FinishReason]]) -> bool:
        """Take the first end, if there is one."""
        found = [(cut.seen, cut.keep, reason) for cut, reason in ends if cut is not None]
        if not found:
            return False
        seen, self._limit, self.reason = min(found)
        if self._overlap is not None and self.reason is not self._overlap.reason:
            self._limit = self._overlap.trim(Cut(seen, self._limit))
        return True

    def _show(self, limit: int) -> str:
        size = max(limit - self._shown, 0)
        if self._waiting[:size].endswith("\r") and self._waiting[size : size + 1] in ("", "\n"):
            size -= 1
        piece, self._waiting = self._waiting[:size], self._waiting[size:]
        self._shown += len(piece)
        return piece


class Utf8Stream:
    """Bytes to whole characters; holds back at most 3 bytes.

    Policy: bytes that can no longer become a character are shown as U+FFFD; a character that is
    still incomplete at the end is dropped.
    """

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """The characters that are complete now."""
        return self._decoder.decode(data)


class RepetitionGuard:
    """Ends a text that repeats itself; exact repeats only, so that code may look alike.

    The rules, on whole lines and with their indentation:

    1. The same block of 1 to 16 lines 5 times in a row and over at least 10 lines or 96
       characters. Two copies stay: what follows the second is held back until the row breaks. At
       least one line of the block must be a statement: it has a word that begins with a letter
       and does not end with a comma. So a table's rows, closing brackets and blank lines do not
       count as a loop, but
    2. 100 lines of such blocks in a row do.
    3. Inside one line: the same 1 to 64 characters 5 times in a row and over at least 96
       characters that hold a word of two letters in a row, of which the copies within the first
       32 stay, two at least; or 1,024 without one (rulers, numbers, one letter over and over).
    """

    reason = FinishReason.REPETITION

    _COPIES, _LINES, _CHARACTERS, _TABLE_LINES, _BLOCK = 5, 10, 96, 100, 16
    _WORD = re.compile(r"\b[^\W\d]")

    def __init__(self, *, breaks: bool = True) -> None:
        """Begin a text.

        Args:
            breaks: whether the line break after what stays is kept; False where one follows.
        """
        self.safe = 0
        self._after = 0 if breaks else 1
        self._lines: list[str] = []
        self._ends: list[int] = []  # where each line ends, its line break included
        self._runs = [0] * (self._BLOCK + 1)  # by block size: lines that equal the one a block up
        self._statements: list[bool] = []
        self._held: int | None = None  # where the second copy ends
        self._line = ""
        self._inside = LineRuns()
        self._seen = 0

    def feed(self, text: str) -> Cut | None:
        """See `Watcher`."""
        *whole, rest = text.split("\n")
        for part in (*(line + "\n" for line in whole), rest):
            cut = self._feed_line(part)
            if cut is not None:
                return cut
        places = [self._seen]
        if self._held is not None:
            places.append(self._held)
        if self._inside.kept is not None:
            places.append(self._seen - len(self._line) + self._inside.kept)
        self.safe = min(places)
        return None

    def close(self) -> Cut | None:
        """Too few copies are no loop."""
        return None

    def _feed_line(self, part: str) -> Cut | None:
        """A piece of one line."""
        begin = self._seen - len(self._line)
        self._line += part
        for character in part.removesuffix("\n"):
            self._seen += 1
            kept = self._inside.feed(character)
            if kept is not None:
                return Cut(self._seen, min(begin + kept, self._held or self._seen))
        if part.endswith("\n"):
            self._seen += 1
            return self._end_line()
        return None

    def _end_line(self) -> Cut | None:
        """Count how often the last lines repeat what came before them."""
        line, self._line, self._inside = self._line, "", LineRuns()
        count = len(self._lines)
        for size in range(1, self._BLOCK + 1):
            same = count >= size and self._lines[count - size] == line
            self._runs[size] = self._runs[size] + 1 if same else 0
        self._lines.append(line)
        self._ends.append(self._seen)
        self._statements.append(self._is_statement(line))
        self._held = None
        for size in range(1, self._BLOCK + 1):
            cut = self._judge(size) if self._runs[size] >= size else None
            if cut is not None:
                return cut
        return None

    def _judge(self, size: int) -> Cut | None:
        """A block of `size` lines that occurs twice or more."""
        lines = self._runs[size] + size
        if not any(self._statements[-size:]):
            place = self._seen - self._after
            return Cut(self._seen, place) if lines >= self._TABLE_LINES else None
        second = self._ends[len(self._lines) - lines + 2 * size - 1] - self._after
        wide = self._seen - self._ends[-lines] + len(self._lines[-lines]) >= self._CHARACTERS
        if lines >= self._COPIES * size and (wide or lines >= self._LINES):
            return Cut(self._seen, second)
        self._held = second if self._held is None else min(self._held, second)
        return None

    def _is_statement(self, line: str) -> bool:
        """Whether a line is more than a table's row or a bracket."""
        return not line.rstrip().endswith(",") and self._WORD.search(line) is not None


class _Run(NamedTuple):
    """The last `length` characters of a line, each equal to the one `period` before it."""

    period: int
    length: int

    def repeats(self, other: "_Run") -> bool:
        """Whether this is only the other run again, seen with a multiple of its period."""
        return self.period % other.period == 0 and self.length <= other.length


class LineRuns:
    """How far the end of one line repeats itself, for every period of up to 64 characters."""

    _PERIOD, _COPIES, _RUN, _PLAIN_RUN, _SHOWN = 64, 5, 96, 1024, 32
    _WORD, _LETTERS = re.compile(r"\w+"), re.compile(r"[^\W\d_]{2}")

    def __init__(self) -> None:
        self.kept: int | None = None  # how much of the line may be shown, if not all of it
        self._line = ""
        self._before = "\n" * self._PERIOD  # the last characters, the newest first
        # By period, the shortest first: how many characters in a row equal the one a period before.
        self._equal: dict[int, int] = {}

    def feed(self, character: str) -> int | None:
        """The next character; how much of the line remains if it has become a loop."""
        self._line += character
        equal, place = {}, self._before.find(character)
        while place >= 0:
            equal[place + 1] = self._equal.get(place + 1, 0) + 1
            place = self._before.find(character, place + 1)
        self._equal = equal
        self._before = character + self._before[:-1]
        self.kept = None
        if max(equal.values(), default=0) >= self._SHOWN // 2 and self._judge():
            return self.kept
        return None

    def _judge(self) -> bool:
        """Whether the line has become a loop; notes how much of it may be shown."""
        plain: list[_Run] = []  # without words
        for period, equal in self._equal.items():
            run = _Run(period, equal + period)
            if equal < period or any(run.repeats(other) for other in plain):
                continue
            start = len(self._line) - run.length
            if self._has_words(start, period):
                self._hold_back(start + period * max(2, ceil(self._SHOWN / period)))
                if run.length >= max(self._COPIES * period, self._RUN):
                    return True
            elif run.length >= self._PLAIN_RUN:
                self.kept = len(self._line)
                return True
            else:
                plain.append(run)
        return False

    def _hold_back(self, shown: int) -> None:
        """Show no more than the first `shown` characters of the line."""
        if shown <= len(self._line):
            self.kept = shown if self.kept is None else min(self.kept, shown)

    def _has_words(self, start: int, period: int) -> bool:
        """Whether copies from there on hold more than signs, numbers and single letters.

        One letter over and over is a ruler too, or the zeros of something in base64.
        """
        if len(set(self._line[start : start + period])) == 1:
            return False
        words: list[str] = self._WORD.findall(self._line, start, start + 3 * period)
        begun = start > 0 and self._WORD.match(self._line[start - 1]) is not None
        if begun and self._WORD.match(self._line[start]) and len(words[0]) <= period:
            del words[0]  # the end of a word that the next copy holds as a whole
        return any(not word[0].isdigit() and self._LETTERS.search(word) for word in words)
