"""Keys and values of recent prompts in memory, in a radix tree keyed by exact tokens.

An edge of the tree is a page: some tokens and their keys and values as bytes. Every page but the
last of a text has the same number of tokens, so no page is ever split. A page that was computed as
a process of its own would compute it is marked as exact: only such pages may be used where the
answer has to be the same bytes, because the sums in a product depend on how many rows it has.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count


@dataclass(slots=True)
class _Page:
    """Some tokens of a text, after those of its parent."""

    tokens: tuple[int, ...]
    data: bytes
    parent: "_Page | None"
    exact: bool = False
    children: dict[int, list["_Page"]] = field(default_factory=dict)
    used: int = 0

    @property
    def next(self) -> Iterator["_Page"]:
        """All pages that follow."""
        for pages in self.children.values():
            yield from pages


@dataclass(frozen=True)
class Match:
    """What is known of a prompt: the bytes of its pages, and how many tokens of them count."""

    pages: tuple[bytes, ...] = ()
    tokens: int = 0


class PrefixTree:
    """Bounded in bytes; of pages that no other follows, those not used for longest go first."""

    def __init__(self, limit_bytes: int, page_tokens: int) -> None:
        self.page_tokens = page_tokens
        self.bytes = 0
        self._limit = limit_bytes
        self._root = _Page((), b"", None)
        self._clock = count(1)
        self._lock = threading.Lock()

    def find(self, tokens: Sequence[int], *, exact: bool) -> Match:
        """The longest beginning of a text that is kept.

        Args:
            tokens: the text.
            exact: use exact, whole pages alone; else the last page may share only its beginning.
        """
        with self._lock:
            pages, known = self._walk(tokens, exact=exact)
            return Match(tuple(page.data for page in pages), known)

    def add(
        self, tokens: Sequence[int], pages: Sequence[bytes], *, first: int = 0, exact: bool
    ) -> None:
        """Keep the pages of a text.

        Args:
            tokens: the text.
            pages: keys and values, one page after the other.
            first: the number of the first of them; a text whose pages before it have been dropped
                meanwhile is not kept.
            exact: how they were computed.
        """
        with self._lock:
            parent, now = self._root, next(self._clock)
            for number in range(first + len(pages)):
                part = tuple(tokens[number * self.page_tokens : (number + 1) * self.page_tokens])
                page = self._child(parent, part)
                if number >= first:
                    page = self._keep(parent, page, part, pages[number - first], exact=exact)
                if page is None:
                    return
                page.used = now
                parent = page
            self._trim()

    def _walk(self, tokens: Sequence[int], *, exact: bool) -> tuple[list[_Page], int]:
        pages, known, page, now = [], 0, self._root, next(self._clock)
        while known < len(tokens):
            best, shared = None, 0
            for child in page.children.get(tokens[known], ()):
                common = common_length(child.tokens, tokens[known : known + len(child.tokens)])
                whole = child.exact and common == len(child.tokens) == self.page_tokens
                if common > shared and (whole or not exact):
                    best, shared = child, common
            if best is None:
                break
            best.used = now
            pages.append(best)
            known += shared
            if shared < self.page_tokens:
                break
            page = best
        return pages, known

    def _child(self, parent: _Page, part: tuple[int, ...]) -> _Page | None:
        if not part:
            return None
        return next((one for one in parent.children.get(part[0], ()) if one.tokens == part), None)

    def _keep(
        self, parent: _Page, page: _Page | None, part: tuple[int, ...], data: bytes, *, exact: bool
    ) -> _Page | None:
        if not part:
            return None
        if page is None:
            page = _Page(part, data, parent, exact)
            parent.children.setdefault(part[0], []).append(page)
            self.bytes += len(data)
        elif exact and not page.exact:
            self.bytes += len(data) - len(page.data)
            page.data, page.exact = data, True
        return page

    def _trim(self) -> None:
        while self.bytes > self._limit:
            oldest = min(self._leaves(self._root), key=lambda page: page.used, default=None)
            if oldest is None or oldest.parent is None:
                return
            siblings = oldest.parent.children[oldest.tokens[0]]
            siblings.remove(oldest)
            if not siblings:
                del oldest.parent.children[oldest.tokens[0]]
            self.bytes -= len(oldest.data)

    def _leaves(self, page: _Page) -> Iterator[_Page]:
        stack = [page]
        while stack:
            one = stack.pop()
            following = list(one.next)
            stack += following
            if not following:
                yield one


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two texts have in common at their beginning."""
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return place
    return min(len(first), len(second))
