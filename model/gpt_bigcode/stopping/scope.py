"""Where the line, block or function at the cursor ends, by indentation and brackets.

Works character by character, so that it does not matter how the text is cut into pieces.
"""

import re
from dataclasses import dataclass
from enum import Enum

from gpt_bigcode.stopping.brackets import (
    BracketReader,
    Syntax,
    guess_syntax,
    is_function_header,
    tail_window,
)
from gpt_bigcode.stopping.text_stop import Cut, FinishReason, Scope

_CLOSERS = frozenset({"}", ")", "]", "fi", "done", "esac", "end"})
_GOES_ON = frozenset(
    {"else", "elif", "elsif", "elseif", "except", "finally", "catch", "rescue", "ensure"}
)
_OPENS_BELOW = frozenset({"{", "then", "do"})  # on a line of their own, under the header
_BRACKETS = frozenset("}])")
_AFTER_BRACKET = frozenset(")];,")
_OPENER = re.compile(r"(?::|\b(?:then|do|else|in|begin))[ \t]*(?:#.*|//.*)?$")
_COMMENT = re.compile(r"[ \t]*(?:#|//|--)")
_TAB_COLUMNS = 8


@dataclass(frozen=True)
class _Frame:
    """The scope's borders.

    Attributes:
        floor: lines indented less are outside. 0: the top level.
        base: brackets open around the scope's lines.
        closing: a bracket that leaves fewer open ends the scope; 0: brackets do not tell.
    """

    floor: int
    base: int
    closing: int = 0


class _LineState(Enum):
    """Where in a line the reader is."""

    START = 1  # in the whitespace and the word that decide whether the line is inside
    LINE = 2
    CLOSED = 3  # after the bracket that ends the scope


class ScopeRule:
    """Watches a text grow (see `text_stop.Watcher`) and cuts it where its scope ends."""

    reason = FinishReason.STOP

    def __init__(self, scope: Scope, prompt: str) -> None:
        """Look at the text before the cursor, at most its last 8 Ki characters."""
        self.safe = 0
        self._scope = scope
        before = _Before(prompt)
        self._before: _Before | None = before
        self._syntax, self._reader = before.syntax, before.reader
        self._line = before.lines[-1]
        self._place = _LineState.LINE if self._line.strip() else _LineState.START
        self._frame = _first_frame(scope, before)
        self._line_depth, self._line_quoted = before.depths[-1], self._reader.quoted
        self._word = ""
        self._seen = self._keep = 0
        self._content = self._blank = self._deeper = self._last = False

    def feed(self, text: str) -> Cut | None:
        """See `text_stop.Watcher`."""
        if self._scope is Scope.FILE:
            self._seen = self.safe = self._seen + len(text)
            return None
        read = self._read_line_scope if self._scope is Scope.LINE else self._read
        for char in text:
            cut = read(char)
            if cut is not None:
                return cut
        whole = self._place is _LineState.LINE or self._scope is Scope.LINE
        self.safe = self._seen if whole else self._keep
        return None

    def close(self) -> Cut | None:
        """See `text_stop.Watcher`; a line's first word is judged though nothing follows it."""
        ends = self._place is _LineState.CLOSED or (bool(self._word) and not self._enters_line())
        return Cut(self._seen, self._keep) if ends and self._scope is not Scope.LINE else None

    def _read_line_scope(self, char: str) -> Cut | None:
        if char == "\n" and self._content:
            return Cut(self._seen + 1, self._seen)
        self._seen += 1
        self._content = self._content or not char.isspace()
        return None

    def _read(self, char: str) -> Cut | None:
        """One character of a block or function."""
        self._seen += 1
        if self._place is _LineState.CLOSED:
            if char not in _AFTER_BRACKET:
                return Cut(self._seen, self._keep)
            self._keep = self._seen
            return None
        if (
            self._place is _LineState.START
            and self._completes_word(char)
            and not self._enters_line()
        ):
            return Cut(self._seen, self._keep)
        self._reader.feed(char)
        closing = self._frame.closing if self._frame else 0
        if char in _BRACKETS and self._reader.depth < closing:
            self._place, self._keep = _LineState.CLOSED, self._seen
        self._line += char
        return self._end_line() if char == "\n" else None

    def _completes_word(self, char: str) -> bool:
        """Collect the first word or sign of a line; whether it is whole."""
        in_word = char.isalnum() or char == "_"
        if self._word and not in_word:
            return True
        self._word += char.strip()
        return bool(self._word) and not in_word

    def _enters_line(self) -> bool:
        """Whether the line that begins with `_word` is inside the scope."""
        word, self._word = self._word, ""
        self._place = _LineState.LINE
        indent = _indent(self._line)
        if self._before is not None and self._frame is None:
            # The first line that is written says how deep the cursor is.
            self._frame = _late_frame(self._scope, self._before, indent)
            self._before = None
        frame = self._frame
        if frame is None or self._line_quoted or self._inside_brackets(frame):
            return True
        inside = self._is_inside(frame, indent, word)
        self._deeper = self._deeper or indent > frame.floor
        self._blank = False
        return inside

    def _inside_brackets(self, frame: _Frame) -> bool:
        """Whether the line continues what a bracket of an earlier line began."""
        return self._line_depth > frame.base and self._reader.inside(frame.base)

    def _is_inside(self, frame: _Frame, indent: int, word: str) -> bool:
        if frame.floor == 0:
            over = self._deeper or self._blank
            return indent > 0 or not over or word in _CLOSERS | _GOES_ON | _OPENS_BELOW
        if indent >= frame.floor or frame.closing or word in _OPENS_BELOW:
            return True
        self._last = word in _CLOSERS
        return self._last

    def _end_line(self) -> Cut | None:
        """A line is whole."""
        line, self._line = self._line[:-1], ""
        if self._last:
            return Cut(self._seen, self._seen - 1)
        if line.strip():
            self._keep, self._content = self._seen - 1, True
        self._blank = self._content and not line.strip()
        if self._frame is None and is_function_header(line, self._syntax):
            self._frame = _function_frame(line, self._line_depth, self._syntax)
            self._before = None
        if self._place is not _LineState.CLOSED:
            self._place = _LineState.START
        self._line_depth, self._line_quoted = self._reader.depth, self._reader.quoted
        return None


class _Before:
    """The text before the cursor: its lines, and the brackets open at the start of each."""

    def __init__(self, prompt: str) -> None:
        text = tail_window(prompt)
        self.syntax = guess_syntax(text)
        self.reader = BracketReader(self.syntax)
        self.lines = text.split("\n")
        self.depths = []
        for number, line in enumerate(self.lines):
            self.depths.append(self.reader.depth)
            for char in line + "\n" * (number < len(self.lines) - 1):
                self.reader.feed(char)

        # The last line with code on it; the line that its statement begins on.
        coded = (n for n, line in enumerate(self.lines) if line.strip() and not _is_comment(line))
        self.last = max(coded, default=0)
        self.on_line = bool(self.lines[-1].strip())
        if self.on_line:
            self.last = len(self.lines) - 1
        self.header = self.last
        while self.header and self.depths[self.header] > self.reader.depth:
            self.header -= 1

    @property
    def opens_bracket(self) -> bool:
        """Whether the last line leaves a bracket open and the cursor is on a line below it."""
        return not self.on_line and self.reader.depth > self.depths[self.last]

    @property
    def opens_block(self) -> bool:
        """Whether the last line ends with a colon or a word that a block follows."""
        line = self.lines[self.last]
        return _OPENER.search(line) is not None and not _is_comment(line)

    def enclosing_function(self, indent: int) -> _Frame | None:
        """The innermost function whose header is indented less than `indent`."""
        for line, depth in zip(reversed(self.lines), reversed(self.depths), strict=True):
            own = _indent(line)
            if not line.strip() or own >= indent:
                continue
            if is_function_header(line, self.syntax):
                return _function_frame(line, depth, self.syntax)
            # A brace on a line of its own belongs to the header above it.
            indent = own + 1 if line.strip() == "{" else own
        return None


def _first_frame(scope: Scope, before: _Before) -> _Frame | None:
    """The scope's borders as far as the prompt alone tells them."""
    header = before.lines[before.header]
    indent = _indent(header)
    opened = before.opens_block or before.opens_bracket
    if not (opened or before.on_line):
        return None
    if scope is Scope.FUNCTION:
        inside = opened or is_function_header(header, before.syntax)
        return before.enclosing_function(indent + 1 if inside else indent)
    return _block_frame(before, indent + 1 if opened else indent)


def _late_frame(scope: Scope, before: _Before, indent: int) -> _Frame | None:
    """The same when the first line with something on it is written, indented by `indent`."""
    if scope is Scope.FUNCTION:
        return before.enclosing_function(indent)
    return _block_frame(before, indent)


def _block_frame(before: _Before, floor: int) -> _Frame:
    depth = before.reader.depth
    if before.opens_bracket:
        return _Frame(floor=floor, base=depth, closing=depth)
    closing = before.reader.brace_depth if before.syntax is Syntax.BRACES else 0
    return _Frame(floor=floor, base=min(depth, before.depths[before.header]), closing=closing)


def _function_frame(header: str, depth: int, syntax: Syntax) -> _Frame:
    closing = depth + 1 if syntax is Syntax.BRACES else 0
    return _Frame(floor=_indent(header) + 1, base=depth, closing=closing)


def _is_comment(line: str) -> bool:
    return _COMMENT.match(line) is not None


def _indent(line: str) -> int:
    """Columns of leading whitespace."""
    columns = line.expandtabs(_TAB_COLUMNS)
    return len(columns) - len(columns.lstrip())
