"""Reads and matches .gitignore rules as git does, in time linear in the length of a name.

`walk` decides whether they apply: in a repository git itself is asked.

Written after gitignore(5) and compared with git on random trees. Names are bytes, as for git: `?`
is one byte. A rule that matches nothing in git matches nothing here, and is no error.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path

from gpt_bigcode.errors import UnreadableFileError
from gpt_bigcode.reading import read_checked
from gpt_bigcode.text_form import without_line_end, without_mark

MAX_BYTES = 1 << 19
"""A longer rule file is ignored, so that more is searched rather than less."""

_SLASH, _BACKSLASH = ord("/"), ord("\\")
_SPECIAL = re.compile(rb"[*?\[\\]")


@dataclass(frozen=True)
class _Rule:
    """One line.

    Attributes:
        text: the pattern, without its marks; what a name ends with for a `*.suffix`.
        expression: for a pattern that is neither a plain name nor a suffix.
        is_suffix: the pattern is `*` and `text`.
        by_name: it is compared with the last part of a path only.
        folders_only: it ended with a slash.
        ignores: False: it began with an exclamation mark.
    """

    text: bytes
    expression: re.Pattern[bytes] | None
    is_suffix: bool
    by_name: bool
    folders_only: bool
    ignores: bool

    def matches(self, path: bytes, name: bytes) -> bool:
        """Tell whether the rule matches a path whose last part is `name`."""
        subject = name if self.by_name else path
        if self.expression is not None:
            return self.expression.match(subject) is not None
        return subject.endswith(self.text) if self.is_suffix else subject == self.text


class IgnoreRules:
    """The rules of one file; the last one that matches decides."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        rules = (_parse(line) for line in lines)
        self._rules = [rule for rule in rules if rule is not None][::-1]

    def __len__(self) -> int:
        """Count the rules."""
        return len(self._rules)

    def decide(self, path: bytes, *, is_folder: bool) -> bool | None:
        """Whether a path is ignored.

        Args:
            path: relative to the folder of the rules, with slashes between its parts.
            is_folder: whether it is a folder; a link to one is not.

        Returns:
            None: no rule matches.
        """
        name = path[path.rfind(b"/") + 1 :]
        for rule in self._rules:
            if (is_folder or not rule.folders_only) and rule.matches(path, name):
                return rule.ignores
        return None

    def ignores_file(self, path: bytes) -> bool:
        """Tell whether a file, or a folder that contains it, is ignored."""
        at = path.find(b"/")
        while at >= 0:
            if self.decide(path[:at], is_folder=True):
                return True
            at = path.find(b"/", at + 1)
        return bool(self.decide(path, is_folder=False))


def read_rules(path: str | Path, *, follow_links: bool = False) -> IgnoreRules:
    """Read a rule file; one that is unreadable or not a regular file has no rules."""
    try:
        data = read_checked(path, max_bytes=MAX_BYTES, follow_links=follow_links)
    except UnreadableFileError:
        data = b""
    return IgnoreRules(split_lines(data))


def split_lines(data: bytes) -> list[bytes]:
    """Split into lines as git does: at LF, without a CR before it."""
    return [without_line_end(line) for line in without_mark(data).split(b"\n")]


def _parse(line: bytes) -> _Rule | None:
    """Read one line; None if it has no rule, or one that matches nothing."""
    text = _without_trailing_spaces(line.split(b"\0")[0])
    if not text or text.startswith(b"#"):
        return None
    ignores = not text.startswith(b"!")
    text = text if ignores else text[1:]
    folders_only = text.endswith(b"/")
    text = text[:-1] if folders_only else text
    by_name = b"/" not in text
    text = text if by_name else text.removeprefix(b"/")
    expression, is_suffix = None, False
    if _SPECIAL.search(text):
        is_suffix = by_name and text.startswith(b"*") and not _SPECIAL.search(text, 1)
        if is_suffix:
            text = text[1:]
        else:
            expression = _expression(text, by_name)
            if expression is None:
                return None
    elif not text:
        return None
    return _Rule(text, expression, is_suffix, by_name, folders_only, ignores)


def _without_trailing_spaces(line: bytes) -> bytes:
    """Strip the spaces at the end of a line that are not escaped."""
    end = len(line.rstrip(b" "))
    backslashes = end - len(line[:end].rstrip(b"\\"))
    return line[: end + 1] if backslashes % 2 else line[:end]


@lru_cache(maxsize=4096)
def _expression(pattern: bytes, by_name: bool) -> re.Pattern[bytes] | None:  # noqa: FBT001
    translated = _Translator(pattern, by_name=by_name).translate()
    return None if translated is None else re.compile(translated, re.DOTALL)


class _Star(Enum):
    """The wildcards for any number of characters."""

    NAME = rb"[^/]*"  # within one part of a path
    FOLDERS = rb"(?:[^/]+/)*"  # any number of parts
    REST = rb".+"  # all that is left, at least something


class _Translator:
    """Turns a pattern into a regular expression that never backtracks over a star.

    After `*`, the first match of the characters up to the next star is the best one: a later match
    leaves less room for the rest. So each such group is atomic, and only the last one is tried
    everywhere.
    """

    def __init__(self, pattern: bytes, *, by_name: bool) -> None:
        self._pattern = pattern
        self._by_name = by_name
        self._at = 0

    def translate(self) -> bytes | None:
        """Return the expression for a whole path or a name; None if it matches nothing."""
        groups: list[tuple[_Star | None, bytes]] = [(None, b"")]
        while self._at < len(self._pattern):
            token = self._next()
            if token is None:
                return None
            if isinstance(token, _Star):
                groups.append((token, b""))
            else:
                star, fixed = groups[-1]
                groups[-1] = (star, fixed + token)
        return self._join(groups)

    @staticmethod
    def _join(groups: list[tuple[_Star | None, bytes]]) -> bytes:
        parts, open_folders = [], 0
        last_folders = max(
            (place for place, (star, _) in enumerate(groups) if star is _Star.FOLDERS), default=-1
        )
        for place, (star, fixed) in enumerate(groups):
            if star is None:
                parts.append(fixed)
            elif star is _Star.FOLDERS:
                # The part up to the next such star begins at the first folder where it matches.
                parts.append(b")" * open_folders)
                open_folders = int(place != last_folders)
                parts.append((b"(?>" if open_folders else b"") + star.value + b"?" + fixed)
            elif place == len(groups) - 1:
                parts.append(star.value + fixed)
            else:
                parts.append(b"(?>" + star.value + b"?" + fixed + b")")
        return b"".join(parts) + rb"\Z"

    def _next(self) -> "bytes | _Star | None":
        """Return the next token; None if the pattern matches nothing."""
        byte = self._pattern[self._at : self._at + 1]
        if byte == b"*":
            return self._star()
        self._at += 1
        if byte == b"?":
            return b"." if self._by_name else b"[^/]"
        if byte == b"[":
            return self._set()
        if byte == b"\\":
            byte = self._pattern[self._at : self._at + 1]
            self._at += 1
            return re.escape(byte) if byte else None
        return re.escape(byte)

    def _star(self) -> _Star:
        start = self._at
        while self._pattern[self._at : self._at + 1] == b"*":
            self._at += 1
        is_part = start == 0 or self._pattern[start - 1] == _SLASH
        if self._by_name or self._at - start == 1 or not is_part:
            return _Star.NAME
        if self._at == len(self._pattern):
            return _Star.REST
        if self._pattern[self._at] == _SLASH:
            self._at += 1
            return _Star.FOLDERS
        return _Star.NAME

    def _set(self) -> bytes | None:
        """Return the bytes that `[...]` matches, never a slash; None if there are none."""
        members = _SetReader(self._pattern, self._at)
        found = (members.read() or set()) - {_SLASH}
        self._at = members.at
        return b"[%s]" % b"".join(b"\\x%02x" % byte for byte in sorted(found)) if found else None


_ASCII = range(128)
_CLASSES = {
    b"alnum": {byte for byte in _ASCII if chr(byte).isalnum()},
    b"alpha": {byte for byte in _ASCII if chr(byte).isalpha()},
    b"blank": {*b" \t"},
    b"cntrl": {*range(32), 127},
    b"digit": {*b"0123456789"},
    b"graph": {*range(33, 127)},
    b"lower": {*range(ord("a"), ord("z") + 1)},
    b"print": {*range(32, 127)},
    b"punct": {byte for byte in range(33, 127) if not chr(byte).isalnum()},
    b"space": {*b" \t\n\r"},  # git's own table: no form feed
    b"upper": {*range(ord("A"), ord("Z") + 1)},
    b"xdigit": {*b"0123456789abcdefABCDEF"},
}


class _SetReader:
    """Reads the inside of a bracket expression."""

    def __init__(self, pattern: bytes, at: int) -> None:
        self.at = at
        self._pattern = pattern
        self._found: set[int] = set()
        self._before = 0  # the start of a range, if one may follow

    def read(self) -> set[int] | None:
        """Return the bytes; None without a closing bracket, or for an unknown class."""
        negated = self._byte() in b"!^" and self._byte() != b""
        self.at += negated
        first = True
        while first or self._byte() != b"]":
            first = False
            if not self._byte() or not self._member():
                return None
        self.at += 1
        return set(range(256)) - self._found if negated else self._found

    def _byte(self, ahead: int = 0) -> bytes:
        return self._pattern[self.at + ahead : self.at + ahead + 1]

    def _member(self) -> bool:
        byte = self._byte()
        if byte == b"-" and self._before and self._byte(1) not in (b"", b"]"):
            self.at += 1
            last = self._literal()
            if last is None:
                return False
            self._found.update(range(self._before, last + 1))
            self._before = 0
            return True
        if byte == b"[" and self._byte(1) == b":":
            return self._class()
        value = self._literal()
        if value is None:
            return False
        self._found.add(value)
        self._before = value
        return True

    def _literal(self) -> int | None:
        """Read one byte, which may be escaped."""
        self.at += self._byte() == b"\\"
        if not self._byte():
            return None
        value = self._pattern[self.at]
        self.at += 1
        return value

    def _class(self) -> bool:
        end = self._pattern.find(b"]", self.at + 2)
        if end < 0:
            return False
        name = self._pattern[self.at + 2 : end]
        if not name.endswith(b":"):  # a literal bracket
            self._found.add(self._pattern[self.at])
            self._before = self._pattern[self.at]
            self.at += 1
            return True
        members = _CLASSES.get(name[:-1])
        if members is None:
            return False
        self._found |= members
        self._before = 0
        self.at = end + 1
        return True
