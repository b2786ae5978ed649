"""Where a text that fills a gap runs into what already follows the gap.

Works character by character, so that it does not matter how the text is cut into pieces.
"""

import re
from dataclasses import dataclass
from typing import Self

from gpt_bigcode.stopping.brackets import (
    WINDOW_CHARACTERS,
    BracketReader,
    guess_syntax,
    tail_window,
)
from gpt_bigcode.stopping.text_stop import Cut, FinishReason

_OPENERS, _CLOSERS = frozenset("([{"), frozenset(")]}")
_CLOSING_WORDS = frozenset({"fi", "done", "esac", "end"})
_BRACKETS = frozenset("()[]{}")
_QUOTES = frozenset("\"'`")
_SIGNS = re.compile(r"[^\w\s()\[\]{}\"'`]+")
_LETTER = re.compile(r"[^\W\d_]")
_WINDOW = 1 << 14  # characters on each side of the gap that are looked at
_LONGEST_REST = 512
_TELLING = 8  # characters, blanks left out
_TAB_COLUMNS = 8


@dataclass(frozen=True)
class GapSides:
    """What is known of a gap before anything fills it; several texts may share it.

    Attributes:
        margin: what is before the first line of the text; None if that line goes on with code.
        lead: the whitespace that the suffix begins with.
        first: the first line of the suffix with something on it.
        second: the next one.
        rest: what is after the cursor on its line, where something is before it too.
        tail: the same where nothing is before it, if it cannot be a line of its own.
        tells: whether `first` written again can only be the line that follows.
        reader: the brackets that are open at the gap; never fed.
        floor: how many brackets must be open at the end of what fills the gap.
        guards: whether the suffix begins with a closing bracket.
    """

    margin: str | None
    lead: str
    first: str
    second: str
    rest: str
    tail: str
    tells: bool
    reader: BracketReader
    floor: int
    guards: bool

    @classmethod
    def of(cls, prefix: str, suffix: str) -> Self:
        """Look at the text around the gap, as the model reads it."""
        before = prefix[prefix.rfind("\n") + 1 :]
        margin = None if before.strip() else before
        lead = suffix[: len(suffix) - len(suffix.lstrip())]
        first, second, rest = _lines_after(suffix, margin)
        tells = _tells(first.strip(), prefix, suffix)
        tail = first.strip() if margin is not None and "\n" not in lead and tells else ""
        reader, floor = _count_brackets(prefix, suffix)
        return cls(
            margin=margin,
            lead=lead,
            first=first,
            second=second,
            rest=rest,
            # What begins with a word may be a line of its own: `if a: return b` before `return b`.
            tail="" if _is_word(tail[:1]) else tail,
            tells=tells,
            reader=reader,
            floor=floor,
            guards=suffix.lstrip()[:1] in _CLOSERS and not reader.in_string,
        )

    @property
    def base(self) -> int:
        """How many brackets are open at the gap."""
        return self.reader.depth

    @property
    def quoted(self) -> bool:
        """Whether the gap lies in a string."""
        return self.reader.in_string


class SuffixOverlap:
    """Watches a text grow (see `text_stop.Watcher`) and cuts it where the suffix begins.

    Blanks at the end of a line never count. The rules:

    1. Brackets. If the suffix begins with a closing bracket, the text may not close what the suffix
       closes: a line of it that ends with too many brackets closed is cut before the first of them.
       `} else {` opens again and closes none too many; a bracket that the prefix opens and the
       suffix leaves open is the text's to close.
    2. Lines. With nothing after the cursor on its line, or nothing before it: a line of the text
       that equals the suffix's first line with something on it, indentation included. A line that
       tells little (under 8 characters, or more than once in the file) counts only if the next line
       is the suffix's next one too, or nothing follows; `fi`, `done`, `end` always count.
    3. The rest of the line. With something on both sides of the cursor: a line of the text that
       ends with what is after it, by the same standard, its brackets being the suffix's; and at
       the end of the text the signs that it begins with (`,`, `;`, a closing quote). With nothing
       before the cursor only if what is after it tells and begins with no word.
    4. A text that is as a whole what follows the cursor, up to the end of a word, is empty.

    A letter or digit alone is never an overlap. Of the blanks before the cut those go that the
    suffix brings itself.
    """

    reason = FinishReason.SUFFIX

    def __init__(self, gap: GapSides) -> None:
        """Begin a text."""
        self.safe = 0
        self._gap = gap
        self._reader = gap.reader.copy()
        self._text = ""
        self._line = 0  # where the line begins
        self._before_chars: list[tuple[int, bool]] = []  # of the line: open brackets, in a string
        self._crossed: int | None = None  # the first bracket too many on the line
        self._pending: int | None = None  # where a line that tells little begins

    @property
    def begins_a_line(self) -> bool:
        """Whether nothing is left of the cursor's line after it, but a line break."""
        return "\n" in self._gap.lead

    def feed(self, text: str) -> Cut | None:
        """See `text_stop.Watcher`."""
        for char in text:
            place = self._end_line() if char == "\n" else None
            if place is not None:
                return Cut(len(self._text) + 1, self._join(place))
            self._read(char)
        self.safe = self._find_safe()
        return None

    def close(self) -> Cut | None:
        """See `text_stop.Watcher`."""
        line = self._text[self._line :].rstrip()
        # The suffix's second line may break off where the text does.
        known = self._pending is not None and self._gap.second.startswith(line)
        place = self._pending if known else self._end_line()
        if place is None:
            place = self._pending if self._pending is not None else self._match_end()
        return None if place is None else Cut(len(self._text), self._join(place))

    def trim(self, cut: Cut) -> int:
        """How many characters stay if something else ends the text with `cut`.

        What may have been shown by then stays.
        """
        kept = SuffixOverlap(self._gap)
        kept.feed(self._text[: cut.keep])
        ended = kept.close()
        if ended is None:
            return cut.keep
        again = SuffixOverlap(self._gap)
        again.feed(self._text[: cut.keep])
        for char in self._text[cut.keep : cut.seen - 1]:
            again.feed(char)
            if again.safe > ended.keep:
                return cut.keep
        return ended.keep

    def _read(self, char: str) -> None:
        place = len(self._text)
        self._text += char
        self._before_chars.append((self._reader.depth, self._reader.in_string))
        self._reader.feed(char)
        below = self._gap.guards and self._reader.depth < self._gap.floor
        if below and self._crossed is None:
            self._crossed = place
        elif not below:
            self._crossed = None
        if char == "\n":
            self._line = place + 1
            self._before_chars.clear()

    def _end_line(self) -> int | None:
        """Where the overlap begins that shows at the end of the line."""
        line = self._text[self._line :].rstrip()
        if not line.strip():
            return None
        if self._pending is not None and self._gap.second == line:
            return self._pending
        self._pending = None
        place = self._match_rest(line) if self._gap.rest else self._match_line(line)
        if place is None and self._gap.tail:
            place = self._match_tail(line)
        if self._crossed is not None and not (self._gap.rest and place is not None):
            return self._crossed
        if place is None:
            return None
        closing = self._gap.guards or self._gap.first.strip().rstrip(";") in _CLOSING_WORDS
        if self._gap.tells or not self._gap.second or closing:
            return place
        self._pending = place
        return None

    def _match_line(self, line: str) -> int | None:
        """Rule 2."""
        full = self._with_margin(line)
        if full is None or _columns(full) != _columns(self._gap.first):
            return None
        at = len(line) - len(line.lstrip())
        balanced = not self._gap.guards or self._before_chars[at][0] == self._gap.floor
        return self._line + at if balanced else None

    def _with_margin(self, line: str) -> str | None:
        """The line with what is before it; None if that is code."""
        if self._line:
            return line
        return None if self._gap.margin is None else self._gap.margin + line

    def _match_rest(self, line: str) -> int | None:
        """Rule 3 for a whole line."""
        at = len(line) - len(self._gap.rest)
        if not line.endswith(self._gap.rest) or _is_letter(self._gap.rest):
            return None
        in_word = at and not self._gap.tells and _splits_word(line[at - 1], self._gap.rest)
        return None if in_word or not self._may_end(at) else self._line + at

    def _match_tail(self, line: str) -> int | None:
        """Rule 3 where nothing is before the cursor: the text has begun the suffix's line."""
        at = len(line) - len(self._gap.tail)
        if (
            at < 1
            or not line.endswith(self._gap.tail)
            or _splits_word(line[at - 1], self._gap.tail)
        ):
            return None
        quoted = self._before_chars[at][1]
        fits = quoted == self._gap.quoted and _closes_its_own(self._gap.tail)
        return self._line + at if fits and line[:at].strip() else None

    def _may_end(self, at: int) -> bool:
        """Whether the rest of the cursor's line may follow `at` characters of this line."""
        depth, quoted = self._before_chars[at]
        if quoted != self._gap.quoted or self._text[: self._line + at].endswith("\\"):
            return False
        # What the suffix has once and what closes only its own brackets fits at any depth.
        alone = self._gap.tells and _closes_its_own(self._gap.rest)
        return alone or depth == self._gap.floor or not _BRACKETS.intersection(self._gap.rest)

    def _match_end(self) -> int | None:
        """Rule 4, and the signs of rule 3."""
        text = self._text.strip()
        target = self._target()
        after = target[len(text) : len(text) + 1]
        whole = target.startswith(text) and not (after and _splits_word(text[-1:], after))
        if text and whole and not _is_letter(text) and self._reader.depth == self._gap.base:
            return 0
        return self._match_signs() if self._gap.rest and not self._gap.guards else None

    def _target(self) -> str:
        """What the whole text may be the beginning of."""
        if self._gap.margin is None:
            return self._gap.rest
        # On a line below the cursor's only with the same indentation.
        here = "\n" not in self._gap.lead
        full = _columns(self._gap.margin + self._text.lstrip("\n"))
        indent = len(self._gap.first) - len(self._gap.first.lstrip())
        same = _columns(self._gap.first)[:indent] == full[: len(full) - len(full.lstrip())]
        return self._gap.first.strip() if here or same else ""

    def _match_signs(self) -> int | None:
        line = self._text[self._line :].rstrip()
        if self._gap.quoted and self._gap.rest[0] in _QUOTES:
            signs = self._gap.rest[0]
        else:
            found = _SIGNS.match(self._gap.rest)
            signs = found[0] if found else ""
        at = len(line) - len(signs)
        if not signs or not line.endswith(signs) or self._before_chars[at][1] != self._gap.quoted:
            return None
        goes_on = at and (_SIGNS.match(line[at - 1]) or line[at - 1] == "\\")
        return None if goes_on else self._line + at

    def _join(self, place: int) -> int:
        """Where to cut before `place`, so that blanks are not there twice."""
        kept = self._text[:place]
        blank = kept[len(kept.rstrip()) :]
        if "\n" in self._gap.lead:
            return place - len(blank)
        size = min(len(blank), len(self._gap.lead))
        while not (blank.endswith(self._gap.lead[len(self._gap.lead) - size :]) or not size):
            size -= 1
        return place - size

    def _find_safe(self) -> int:
        """The end of what stays, whatever follows."""
        held = self._line + self._find_held(self._text[self._line :].rstrip())
        places = [place for place in (self._pending, self._crossed) if place is not None]
        return len(self._text[: min([held, *places])].rstrip())

    def _find_held(self, line: str) -> int:
        """From which character on the line may become an overlap."""
        if not self._text[: self._line].strip() and self._target().startswith(line.strip()):
            return 0
        if self._gap.rest:
            places = range(max(len(line) - len(self._gap.rest), 0), len(line))
            may = (
                at for at in places if self._gap.rest.startswith(line[at:]) and self._may_end(at)
            )
            return next(may, len(line))
        full = self._with_margin(line)
        if full is not None and _columns(self._gap.first).startswith(_columns(full)):
            return 0
        places = range(max(len(line) - len(self._gap.tail), 0), len(line))
        return next((at for at in places if self._gap.tail.startswith(line[at:])), len(line))


def _lines_after(suffix: str, margin: str | None) -> tuple[str, str, str]:
    """The first two lines with something on them, and what is after the cursor on its line."""
    here, *below = [line.rstrip() for line in suffix[:_WINDOW].split("\n")]
    rest = here.strip() if margin is None else ""
    if margin is not None and here:
        here = margin + here
    first, second = ([line for line in (here, *below) if line] + ["", ""])[:2]
    return ("", second, "") if len(first) > _LONGEST_REST else (first, second, rest)


def _count_brackets(prefix: str, suffix: str) -> tuple[BracketReader, int]:
    """A reader at the gap, and how many brackets must be open at the end of what fills it.

    Those that the suffix leaves open are not its to close. If more follows than is looked at, only
    parentheses inside the innermost brace are expected to be closed by then. If the suffix closes
    a brace that nothing before it opens, what fills the gap has to, and nothing can be said.
    """
    guards = suffix.lstrip()[:1] in _CLOSERS
    before = tail_window(prefix, _WINDOW if guards else WINDOW_CHARACTERS)
    reader = BracketReader(guess_syntax(before + suffix[:_WINDOW]))
    for char in before:
        reader.feed(char)
    if not guards:
        return reader, reader.depth
    ahead = reader.copy()
    lowest = reader.open_brackets
    for char in suffix[:_WINDOW]:
        depth = ahead.depth
        ahead.feed(char)
        if ahead.depth < len(lowest):
            lowest = ahead.open_brackets
        if char == "}" and ahead.depth == depth and ahead.in_code and before == prefix:
            return reader, 0
    if len(suffix) > _WINDOW:
        lowest = lowest[lowest.rfind("{") + 1 :]
    return reader, reader.depth - len(lowest)


def _tells(line: str, prefix: str, suffix: str) -> bool:
    """Whether a line that is written again can only be the one that follows."""
    if not _LETTER.search(line) or len("".join(line.split())) < _TELLING:
        return False
    around = (prefix[-_WINDOW:] + "\n" + suffix[:_WINDOW]).split("\n")
    return [other.strip() for other in around].count(line) <= 1


def _closes_its_own(text: str) -> bool:
    """Whether no bracket is closed that the text does not open."""
    depth = 0
    for char in text:
        depth += (char in _OPENERS) - (char in _CLOSERS)
        if depth < 0:
            return False
    return True


def _is_letter(text: str) -> bool:
    return len(text) == 1 and text.isalnum()


def _splits_word(before: str, after: str) -> bool:
    """Whether a border between two texts lies inside a word."""
    return _is_word(before[-1:]) and _is_word(after[:1])


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _columns(line: str) -> str:
    """The line with its indentation in columns."""
    return line.expandtabs(_TAB_COLUMNS)
