"""What allows a finding: a comment, a regular expression, or being an author's name.

Comments are recognized in any language, by their words alone.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bigcode_cli.files.ignore_rules import IgnoreRules
from bigcode_cli.framework.errors import UsageFailure

if TYPE_CHECKING:
    from gpt_bigcode.labeling.results import Span

_MARK = re.compile(
    r"bigcode:[ \t]*allow(?P<next>[- ]next[- ]?line|-next)?(?:=(?P<labels>[\w.,-]+))?(?!\w|-\w)"
    r"|pragma:[ \t]*allowlist[ \t]+(?P<nextline>nextline[ \t]+)?secret\b"
    r"|gitleaks:allow\b",
    re.IGNORECASE,
)
# A line that names an author: its names and addresses are meant to be read.
_ATTRIBUTION = re.compile(
    r"(?<![a-z])(?:copyright|authors?|maintainers?|contributors?)(?![a-z])|\(c\)|©|\bthanks to\b"
    r"|\b(?:co-authored|signed-off|reviewed|reported|written)[- ]by\b",
    re.IGNORECASE,
)
_ATTRIBUTING_FILE = re.compile(
    r"(?:authors|contributors|maintainers|codeowners|credits|thanks|notice|licen[cs]e|copying)"
    r"(?:\.\w+)*|\.mailmap|pyproject\.toml|setup\.(?:py|cfg)|package\.json|cargo\.toml"
    r"|.*\.gemspec",
    re.IGNORECASE,
)
_PERSONAL = frozenset({"NAME", "EMAIL", "USERNAME"})
_TAIL = 256  # characters; longer than any mark, so that none is lost between two pieces


@dataclass
class Comments:
    """The comments of one text that allow findings, collected while it is read.

    Attributes:
        path: its name: some files are lists of authors.
    """

    path: str = ""
    _lines: dict[int, list[frozenset[str] | None]] = field(default_factory=dict)
    _attributions: set[int] = field(default_factory=set)

    def watch(self, pieces: Iterable[str]) -> Iterator[str]:
        """Pass the pieces through unchanged."""
        tail, line = "", 1  # text that may contain the beginning of a mark, and its first line
        for piece in pieces:
            text = tail + piece
            # A mark that reaches the end may continue in the next piece.
            cut = max(len(text) - _TAIL, 0)
            self._attribute(text, cut, line)
            line = self._search(text, cut, line)
            tail = text[cut:]
            yield piece
        self._attribute(tail, len(tail), line)
        self._search(tail, len(tail), line)

    def attribute(self, span: "Span") -> bool:
        """Tell whether a span is the name or address of a declared author."""
        if span.label not in _PERSONAL:
            return False
        name = os.path.basename(self.path)  # noqa: PTH119  # any bytes
        known = _ATTRIBUTING_FILE.fullmatch(name) is not None
        return known or span.start_line in self._attributions

    def allow(self, span: "Span") -> bool:
        """Tell whether a comment on one of its lines, or for them, allows a span."""
        for line in range(span.start_line, span.end_line + 1):
            for labels in self._lines.get(line, ()):
                if labels is None or span.label.upper() in labels:
                    return True
        return False

    def _search(self, text: str, end: int, line: int) -> int:
        """Note the marks that begin before `end`; return the line of `end`."""
        counted = 0
        for found in _MARK.finditer(text):
            if found.start() >= end:
                break
            line += text.count("\n", counted, found.start())
            counted = found.start()
            wanted = found["labels"]
            labels = None if wanted is None else frozenset(wanted.upper().split(","))
            below = bool(found["next"] or found["nextline"])
            self._lines.setdefault(line + below, []).append(labels)
        return line + text.count("\n", counted, end)

    def _attribute(self, text: str, end: int, line: int) -> None:
        """Note the lines whose attribution begins before `end`; `text` begins in `line`."""
        counted = 0
        for found in _ATTRIBUTION.finditer(text, 0):
            if found.start() >= end:
                break
            line += text.count("\n", counted, found.start())
            counted = found.start()
            self._attributions.add(line)


@dataclass(frozen=True, kw_only=True)
class Allowances:
    """What the user allows in all files.

    Attributes:
        expressions: allow spans whose text matches one of them.
        excluded: patterns of file names to leave out.
    """

    expressions: tuple[re.Pattern[str], ...] = ()
    excluded: IgnoreRules | None = None

    @classmethod
    def of(cls, allow: Sequence[str], exclude: Sequence[str]) -> "Allowances":
        """Read the values of --allow and --exclude.

        Raises:
            UsageFailure: one of them is not an expression or pattern.
        """
        expressions = []
        for number, text in enumerate(allow, 1):
            try:
                expressions.append(re.compile(text))
            except (re.error, RecursionError, OverflowError) as error:
                # The expression may be a secret itself, so no message repeats it.
                at = getattr(error, "pos", None)
                place = "" if at is None else f" (character {at + 1})"
                message = f"--allow: no. {number} is not a valid regular expression{place}"
                raise UsageFailure(message) from None
        return cls(expressions=tuple(expressions), excluded=_read_patterns(exclude))

    def allow(self, span: "Span") -> bool:
        """Tell whether an expression allows a span."""
        return any(expression.search(span.text) for expression in self.expressions)

    def exclude(self, path: str) -> bool:
        """Tell whether a file is excluded."""
        if self.excluded is None:
            return False
        # Relative where possible, as patterns are; for files above the folder only the name counts.
        name = path
        with contextlib.suppress(OSError):  # the current folder has been removed
            name = os.path.relpath(path)
        while name.startswith(os.pardir + os.sep):
            name = name[len(os.pardir + os.sep) :]
        return self.excluded.ignores_file(os.fsencode(name.lstrip(os.sep)))


def _read_patterns(patterns: Sequence[str]) -> IgnoreRules | None:
    for pattern in patterns:
        if not len(IgnoreRules([os.fsencode(pattern)])):
            raise UsageFailure(f"--exclude: no file can match {pattern[:80]!r}")
    return IgnoreRules(map(os.fsencode, patterns)) if patterns else None
