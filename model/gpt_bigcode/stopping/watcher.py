"""Token bytes in, text that may be shown out: whole characters, stop texts, scopes, loops.

However the bytes are cut into pieces, the joined output is the same.
"""

from collections.abc import Sequence
from typing import Protocol

from gpt_bigcode.stopping.finish_reason import FinishReason
from gpt_bigcode.stopping.repetition import RepetitionGuard
from gpt_bigcode.stopping.scope import Cut, ScopeRule
from gpt_bigcode.stopping.suffix import SuffixOverlap
from gpt_bigcode.stopping.text_stream import Utf8Stream


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
        """A part of a stop text is no stop text."""
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
        scope: ScopeRule | None = None,
        overlap: SuffixOverlap | None = None,
    ) -> None:
        self.reason: FinishReason | None = None
        self._overlap = overlap
        self._characters = Utf8Stream()
        self._watchers: list[Watcher] = [RepetitionGuard()]
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
