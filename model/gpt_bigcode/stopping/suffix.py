"""Where a text that fills a gap runs into what already follows the gap.

Works character by character, so that it does not matter how the text is cut into pieces.
"""

import re
from copy import deepcopy

from gpt_bigcode.stopping.brackets import (
    WINDOW_CHARACTERS,
    BracketReader,
    guess_syntax,
    tail_window,
)
from gpt_bigcode.stopping.finish_reason import FinishReason
from gpt_bigcode.stopping.scope import Cut

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


class SuffixOverlap:
    """Watches a text grow (see `watcher.Watcher`) and cuts it where the suffix begins.

    For several texts in one gap copy an unused one: looking around the gap is what takes time.
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

    def __init__(self, prefix: str, suffix: str) -> None:
        """Look at the text around the gap, as the model reads it."""
        self.safe = 0
        before = prefix[prefix.rfind("\n") + 1 :]
        # What is before the first line of the text; None if that line goes on with code.
        self._margin = None if before.strip() else before
        self._lead = suffix[: len(suffix) - len(suffix.lstrip())]
        self._find_lines(suffix)
        self._tells = _tells(self._first.strip(), prefix, suffix)
        whole = self._margin is not None and "\n" not in self._lead and self._tells
        tail = self._first.strip() if whole else ""
        # What begins with a word may be a line of its own: `if a: return b` before `return b`.
        self._tail = "" if _is_word(tail[:1]) else tail
        self._reader, self._floor = _count_brackets(prefix, suffix)
        self._base, self._quoted = self._reader.depth, self._reader.in_string
        self._guards = suffix.lstrip()[:1] in _CLOSERS and not self._quoted
        self._text = ""
        self._line = 0  # where the line begins
        self._before_chars: list[tuple[int, bool]] = []  # of the line: open brackets, in a string
        self._crossed: int | None = None  # the first bracket too many on the line
        self._pending: int | None = None  # where a line that tells little begins
        self._untouched = deepcopy(self)

    def _find_lines(self, suffix: str) -> None:
        """The first two lines with something on them, and what is after the cursor on its line."""
        here, *below = [line.rstrip() for line in suffix[:_WINDOW].split("\n")]
        self._rest = here.strip() if self._margin is None else ""
        if self._margin is not None and here:
            here = self._margin + here
        lines = [line for line in (here, *below) if line] + ["", ""]
        self._first, self._second = lines[:2]
        if len(self._first) > _LONGEST_REST:
            self._rest = self._first = ""

    def feed(self, text: str) -> Cut | None:
        """See `watcher.Watcher`."""
        for char in text:
            place = self._end_line() if char == "\n" else None
            if place is not None:
                return Cut(len(self._text) + 1, self._join(place))
            self._read(char)
        self.safe = self._find_safe()
        return None

    def close(self) -> Cut | None:
        """See `watcher.Watcher`."""
        line = self._text[self._line :].rstrip()
        # The suffix's second line may break off where the text does.
        known = self._pending is not None and self._second.startswith(line)
        place = self._pending if known else self._end_line()
        if place is None:
            place = self._pending if self._pending is not None else self._match_end()
        return None if place is None else Cut(len(self._text), self._join(place))

    def trim(self, cut: Cut) -> int:
        """How many characters stay if something else ends the text with `cut`.

        What may have been shown by then stays.
        """
        again = deepcopy(self._untouched)
        again.feed(self._text[: cut.keep])
        ended = deepcopy(again).close()
        if ended is None:
            return cut.keep
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
        below = self._guards and self._reader.depth < self._floor
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
        if self._pending is not None and self._second == line:
            return self._pending
        self._pending = None
        place = self._match_rest(line) if self._rest else self._match_line(line)
        if place is None and self._tail:
            place = self._match_tail(line)
        if self._crossed is not None and not (self._rest and place is not None):
            return self._crossed
        if place is None:
            return None
        closing = self._guards or self._first.strip().rstrip(";") in _CLOSING_WORDS
        if self._tells or not self._second or closing:
            return place
        self._pending = place
        return None

    def _match_line(self, line: str) -> int | None:
        """Rule 2."""
        full = self._with_margin(line)
        if full is None or _columns(full) != _columns(self._first):
            return None
        at = len(line) - len(line.lstrip())
        balanced = not self._guards or self._before_chars[at][0] == self._floor
        return self._line + at if balanced else None

    def _with_margin(self, line: str) -> str | None:
        """The line with what is before it; None if that is code."""
        if self._line:
            return line
        return None if self._margin is None else self._margin + line

    def _match_rest(self, line: str) -> int | None:
        """Rule 3 for a whole line."""
        at = len(line) - len(self._rest)
        if not line.endswith(self._rest) or _is_letter(self._rest):
            return None
        in_word = at and not self._tells and _splits_word(line[at - 1], self._rest)
        return None if in_word or not self._may_end(at) else self._line + at

    def _match_tail(self, line: str) -> int | None:
        """Rule 3 where nothing is before the cursor: the text has begun the suffix's line."""
        at = len(line) - len(self._tail)
        if at < 1 or not line.endswith(self._tail) or _splits_word(line[at - 1], self._tail):
            return None
        quoted = self._before_chars[at][1]
        fits = quoted == self._quoted and _closes_its_own(self._tail)
        return self._line + at if fits and line[:at].strip() else None

    def _may_end(self, at: int) -> bool:
        """Whether the rest of the cursor's line may follow `at` characters of this line."""
        depth, quoted = self._before_chars[at]
        if quoted != self._quoted or self._text[: self._line + at].endswith("\\"):
            return False
        # What the suffix has once and what closes only its own brackets fits at any depth.
        alone = self._tells and _closes_its_own(self._rest)
        return alone or depth == self._floor or not _BRACKETS.intersection(self._rest)

    def _match_end(self) -> int | None:
        """Rule 4, and the signs of rule 3."""
        text = self._text.strip()
        target = self._target()
        after = target[len(text) : len(text) + 1]
        whole = target.startswith(text) and not (after and _splits_word(text[-1:], after))
        if text and whole and not _is_letter(text) and self._reader.depth == self._base:
            return 0
        return self._match_signs() if self._rest and not self._guards else None

    def _target(self) -> str:
        """What the whole text may be the beginning of."""
        if self._margin is None:
            return self._rest
        # On a line below the cursor's only with the same indentation.
        here = "\n" not in self._lead
        full = _columns(self._margin + self._text.lstrip("\n"))
        indent = len(self._first) - len(self._first.lstrip())
        same = _columns(self._first)[:indent] == full[: len(full) - len(full.lstrip())]
        return self._first.strip() if here or same else ""

    def _match_signs(self) -> int | None:
        line = self._text[self._line :].rstrip()
        if self._quoted and self._rest[0] in _QUOTES:
            signs = self._rest[0]
        else:
            found = _SIGNS.match(self._rest)
            signs = found[0] if found else ""
        at = len(line) - len(signs)
        if not signs or not line.endswith(signs) or self._before_chars[at][1] != self._quoted:
            return None
        goes_on = at and (_SIGNS.match(line[at - 1]) or line[at - 1] == "\\")
        return None if goes_on else self._line + at

    def _join(self, place: int) -> int:
        """Where to cut before `place`, so that blanks are not there twice."""
        kept = self._text[:place]
        blank = kept[len(kept.rstrip()) :]
        if "\n" in self._lead:
            return place - len(blank)
        size = min(len(blank), len(self._lead))
        while not (blank.endswith(self._lead[len(self._lead) - size :]) or not size):
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
        if self._rest:
            places = range(max(len(line) - len(self._rest), 0), len(line))
            may = (at for at in places if self._rest.startswith(line[at:]) and self._may_end(at))
            return next(may, len(line))
        full = self._with_margin(line)
        if full is not None and _columns(self._first).startswith(_columns(full)):
            return 0
        places = range(max(len(line) - len(self._tail), 0), len(line))
        return next((at for at in places if self._tail.startswith(line[at:])), len(line))


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
    ahead = deepcopy(reader)
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
