"""Labels of tokens -> labelled spans with exact places in the file.

Tokens are taken together until they make whole characters, so that no span cuts one.
"""

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.labeling.bio_labels import NO_KIND, LabelScheme, TokenLabels
from gpt_bigcode.labeling.results import Span
from gpt_bigcode.labeling.rules.addresses import EMAIL, IP_ADDRESS
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from gpt_bigcode.windowing.tag_windows import SpanMode

MAX_SPAN_BYTES = 1 << 14
"""Where a span is cut, so that a model that labels everything needs no memory for it."""
# What keys, addresses and names are made of: a little of it between two labelled pieces was missed
# by the model; anything else separates them, and so does a slash next to more than one piece.
_BRIDGE = re.compile(r"[\w+/.~%@-]{1,32}")
_MAX_WORD = 64
"""The most letters of a word before its first labelled one that belong to a span."""
_LONG_BRIDGE = re.compile(r"[\w+.~%@-]{1,16}")
# A token may hold a bit of what surrounds a secret.
_BEFORE, _AFTER = "\"'`=:<(,;", "\"'`,;>"
SUSPECTED = {EMAIL: 0.1, IP_ADDRESS: 0.004, "PASSWORD": 0.05, "USERNAME": 0.05, "NAME": 0.05}
"""From this probability of one of its tokens on, what is in the place or has the shape of a label
may have it.

Versions, addresses of documentation and those of private networks stay ten times below.
"""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A token that may belong to an address: its label, its place in the file, its probability."""

    label: str
    byte: int
    share: float


@dataclass(frozen=True)
class _Place:
    byte: int = 0
    line: int = 1
    column: int = 1

    def after(self, text: str) -> "_Place":
        """The place after a text that begins here."""
        lines = text.count("\n")
        column = len(text) - text.rfind("\n") if lines else self.column + len(text)
        return _Place(self.byte + len(text.encode()), self.line + lines, column)

    def before(self, word: str) -> "_Place":
        """Where a word without line feeds begins that ends here."""
        return _Place(self.byte - len(word.encode()), self.line, self.column - len(word))


@dataclass(frozen=True)
class _Piece:
    """One or more tokens that make whole characters."""

    text: str = field(repr=False)
    place: _Place
    kind: int | None
    kinds: NDArray[np.float64]
    begins: NDArray[np.bool_]

    @cached_property
    def begins_span(self) -> bool:
        """Whether a span of its kind begins here; none begins with a mere hyphen or dot."""
        begins = self.kind is not None and bool(self.begins[self.kind])
        return begins and any(map(str.isalnum, self.text))


class SpanFinder:
    """The spans of one text; `add` must be given its tokens in their order.

    Attributes:
        offset: every span that begins before this byte of the file was given away.
        suspicions: tokens of the last `add` that may belong to addresses.
    """

    def __init__(
        self,
        tokenizer: CodeTokenizer,
        scheme: LabelScheme,
        mode: SpanMode = SpanMode.INDEPENDENT,
    ) -> None:
        self._tokenizer = tokenizer
        self._scheme = scheme
        self._mode = mode
        self._path = scheme.path() if mode is SpanMode.BEST_PATH else None
        self._word = ""  # letters and digits right before this place, where they may matter
        self._place = _Place()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._rows: list[tuple[NDArray[np.float64], float, NDArray[np.bool_], int]] = []
        self._text = ""
        self._run: list[_Piece] = []
        self._gap: list[_Piece] = []
        self._read_bytes = 0  # of the file, by whole tokens
        self.suspicions: list[Suspicion] = []

    @property
    def offset(self) -> int:
        """See the class."""
        if self._run:
            return self._run[0].place.byte
        return self._place.byte - len(self._word.encode())

    def begin(self, size: int) -> None:
        """Let the first bytes of the file pass, a byte order mark."""
        self._place, self._read_bytes = _Place(byte=size), size

    def add(self, ids: Sequence[int], logits: NDArray[np.float32]) -> Iterator[Span]:
        """Take tokens and their logits, [T, C]; give the spans that are complete."""
        labels = self._scheme.read(logits, self._path)
        self.suspicions = self._suspect(ids, labels)
        labelled = np.flatnonzero(labels.chosen != NO_KIND)
        place = 0
        while place < len(ids):
            if not (self._run or self._rows):
                ahead = labelled[np.searchsorted(labelled, place) :]
                place = self._skip(ids, place, int(ahead[0]) if len(ahead) else len(ids))
                if place == len(ids):
                    return
            piece = self._piece(ids[place], labels, place)
            place += 1
            if piece is not None:
                yield from self._take(piece)

    def skip(self, ids: Sequence[int]) -> Iterator[Span]:
        """Pass over tokens that have no labels; give the spans that end before them."""
        yield from self.close()
        data = self._tokenizer.decode_bytes(ids)
        text = self._decoder.decode(data)
        self._read_bytes += len(data)
        self._place = self._place.after(self._text + text)
        self._text, self._rows, self._word = "", [], ""
        self._path = self._scheme.path() if self._mode is SpanMode.BEST_PATH else None

    def close(self) -> Iterator[Span]:
        """The spans that the text ends in."""
        while self._run:
            yield from self._end_run()

    def _suspect(self, ids: Sequence[int], labels: TokenLabels) -> list[Suspicion]:
        """The tokens that may belong to something whose borders the text tells."""
        sizes = [len(self._tokenizer.token_bytes(token)) for token in ids]
        starts = self._read_bytes + np.cumsum([0, *sizes])
        self._read_bytes = int(starts[-1])
        found = []
        for label, least in SUSPECTED.items():
            if label in self._scheme.kinds:
                shares = labels.kinds[:, self._scheme.kinds.index(label)]
                places = np.flatnonzero(shares >= least).tolist()
                found += [Suspicion(label, int(starts[at]), float(shares[at])) for at in places]
        return sorted(found, key=attrgetter("byte"))

    def _skip(self, ids: Sequence[int], start: int, stop: int) -> int:
        """Pass over tokens without a label that make whole characters; where they end."""
        while start < stop:
            try:
                text = self._tokenizer.decode_bytes(ids[start:stop]).decode()
            except UnicodeDecodeError:
                stop -= 1  # a character has four bytes at most: this does not happen often
                continue
            self._place = self._place.after(text)
            self._pass(text)
            break
        return stop

    def _pass(self, text: str) -> None:
        """Remember the word that a text without a label ends in, if spans hold whole words."""
        if self._path is not None:
            rest = len(text) - _word_at_end(text)
            self._word = ((self._word if rest == 0 else "") + text[rest:])[-_MAX_WORD:]

    def _piece(self, token: int, labels: TokenLabels, row: int) -> _Piece | None:
        """The piece that a token completes, if it does not end inside a character."""
        self._text += self._decoder.decode(self._tokenizer.token_bytes(token))
        values = labels.kinds[row], float(labels.outside[row]), labels.begins[row]
        self._rows.append((*values, int(labels.chosen[row])))
        if self._decoder.getstate()[0]:
            return None
        text, rows, place = self._text, self._rows, self._place
        self._text, self._rows, self._place = "", [], place.after(text)
        kinds = rows[0][0] if len(rows) == 1 else np.mean([kinds for kinds, *_ in rows], axis=0)
        if self._path is None:
            likely = int(kinds.argmax())
            outside = sum(one for _, one, *_ in rows) / len(rows)
            kind = likely if kinds[likely] > outside else None
        else:
            kind = next((one for *_, one in rows if one != NO_KIND), None)
        return _Piece(text, place, kind, kinds, rows[0][2])

    def _take(self, piece: _Piece) -> Iterator[Span]:
        if not self._run:
            self._begin_run(piece)
        elif self._continues(piece):
            self._run += [*self._gap, piece]
            self._gap = []
        elif self._path is None and _is_bridge([*self._gap, piece]):
            self._gap.append(piece)
        else:
            rest = piece if self._path is None else self._end_word(piece)
            if rest.text:
                yield from self._end_run()
                yield from self._take(rest)

    def _begin_run(self, piece: _Piece) -> None:
        """Open a span with a piece that has a kind, and with what precedes it in its word."""
        if piece.kind is None:
            self._pass(piece.text)
            return
        self._run = [piece]
        if self._word and piece.text[:1].isalnum():
            unlabelled = replace(piece, text=self._word, kind=None, kinds=0 * piece.kinds)
            self._run.insert(0, replace(unlabelled, place=piece.place.before(self._word)))
        self._word = ""

    def _end_word(self, piece: _Piece) -> _Piece:
        """Let the open span have what a piece without a kind holds of its word; give the rest."""
        letters = _word_at_start(piece.text) if self._run[-1].text[-1].isalnum() else 0
        if piece.kind is not None or self._too_long or not letters:
            return piece
        word, rest = piece.text[:letters], piece.text[letters:]
        self._run.append(replace(piece, text=word, kinds=0 * piece.kinds))
        return replace(piece, text=rest, place=piece.place.after(word))

    @property
    def _too_long(self) -> bool:
        return self._place.byte - self._run[0].place.byte > MAX_SPAN_BYTES

    def _continues(self, piece: _Piece) -> bool:
        """Whether a piece belongs to the open span, over the gap if there is one.

        Inside a word nothing ends: where the model changes its mind there, it is unsure about one
        secret, and has not found two.
        """
        kind = piece.kind
        if kind is None or self._too_long:
            return False
        before = self._run[-1].text
        between = "".join(one.text for one in self._gap)
        inside = _inside_word(before, between or piece.text) and _inside_word(between, piece.text)
        last = next(one.kind for one in reversed(self._run) if one.kind is not None)
        return inside or (kind == last and not piece.begins_span)

    def _end_run(self) -> Iterator[Span]:
        """Give the open span away; what followed it may begin another."""
        run, gap, self._run, self._gap = self._run, self._gap, [], []
        yield from self._span(run)
        for piece in gap:
            yield from self._take(piece)

    def _span(self, run: Sequence[_Piece]) -> Iterator[Span]:
        """The span of some pieces, unless they hold nothing but white space and quotes."""
        text = "".join(piece.text for piece in run)
        kept = _trimmed(text)
        if not kept:
            return
        start = run[0].place.after(text[: text.index(kept)])
        end = start.after(kept)
        values = np.asarray([piece.kinds for piece in run])
        chosen = {piece.kind for piece in run} - {None}
        kind = max(sorted(k for k in chosen if k is not None), key=lambda k: values[:, k].sum())
        scores = sorted(float(piece.kinds[kind]) for piece in run if piece.kind == kind)
        yield Span(
            label=self._scheme.kinds[kind],
            start=start.byte,
            end=end.byte,
            start_line=start.line,
            start_column=start.column,
            end_line=end.line,
            end_column=end.column,
            score=scores[len(scores) // 2],
            text=kept,
        )


def _is_bridge(gap: Sequence[_Piece]) -> bool:
    """Whether pieces that do not continue a span may yet turn out to lie inside it."""
    if any(piece.kind is not None and piece.begins_span for piece in gap):
        return False
    allowed = _BRIDGE if len(gap) == 1 else _LONG_BRIDGE
    return bool(allowed.fullmatch("".join(piece.text for piece in gap)))


def _trimmed(text: str) -> str:
    """The text without surrounding white space and brackets or quotes, which may nest."""
    while text != (shorter := text.strip().lstrip(_BEFORE).rstrip(_AFTER)):
        text = shorter
    return text


def _word_at_start(text: str) -> int:
    return next((place for place, one in enumerate(text) if not one.isalnum()), len(text))


def _word_at_end(text: str) -> int:
    return _word_at_start(text[::-1])


def _inside_word(before: str, after: str) -> bool:
    return not before or (before[-1].isalnum() and after[:1].isalnum())
