"""The loop guard: ends a text that keeps repeating itself."""

import re

from gpt_bigcode.stopping.finish_reason import FinishReason
from gpt_bigcode.stopping.scope import Cut


class LineRuns:
    """How far the end of one line repeats itself, for every period of up to 64 characters."""

    _PERIOD, _COPIES, _RUN, _PLAIN_RUN, _SHOWN = 64, 5, 96, 1024, 32
    _WORD, _LETTERS = re.compile(r"\w+"), re.compile(r"[^\W\d_]{2}")

    def __init__(self) -> None:
        self.kept: int | None = None  # how much of the line may be shown, if not all of it
        self._line = ""
        self._before = "\n" * self._PERIOD  # the last characters, the newest first
        # By period: how many characters in a row equal the one a period before.
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
        """Whether a run of two copies or more is a loop; notes what may be shown of it."""
        plain: list[tuple[int, int]] = []  # periods and lengths of runs without words
        for period, count in self._equal.items():
            run = count + period
            if count < period or any(period % of == 0 and run <= same for of, same in plain):
                continue
            start = len(self._line) - run
            if not self._has_words(start, period):
                if run >= self._PLAIN_RUN:
                    self.kept = len(self._line)
                    return True
                plain.append((period, run))
                continue
            shown = start + period * max(2, -(-self._SHOWN // period))
            if len(self._line) >= shown:
                self.kept = shown if self.kept is None else min(self.kept, shown)
            if run >= max(self._COPIES * period, self._RUN):
                return True
        return False

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


class RepetitionGuard:
    """Ends a text that goes round in a loop; exact repeats only, so that code may look alike.

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

    def __init__(self) -> None:
        self.safe = 0
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
            return Cut(self._seen, self._seen) if lines >= self._TABLE_LINES else None
        second = self._ends[len(self._lines) - lines + 2 * size - 1]
        wide = self._seen - self._ends[-lines] + len(self._lines[-lines]) >= self._CHARACTERS
        if lines >= self._COPIES * size and (wide or lines >= self._LINES):
            return Cut(self._seen, second)
        self._held = second if self._held is None else min(self._held, second)
        return None

    def _is_statement(self, line: str) -> bool:
        """Whether a line is more than a table's row or a bracket."""
        return not line.rstrip().endswith(",") and self._WORD.search(line) is not None
