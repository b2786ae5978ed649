"""Runs a model over many documents in windows: the one driver of scoring and labeling.

A document that cannot be read or computed gives its error as its result and ends no other.

Give it three parts: how token ids are cut into windows, what computes the windows, and what adds up
the results of one document.

    stream = DocumentStream(tokenizer, windows, compute, batch_tokens=4096)
    for outcome in stream.run(documents, accumulate): ...
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from gpt_bigcode.text_form import pieces_without_mark

if TYPE_CHECKING:
    from gpt_bigcode.tokenization.tokenizer import CodeTokenizer


PIECE_CHARACTERS = 1 << 14
"""The most that is tokenized at once."""
_POOLED_BATCHES = 4  # windows of this many batches wait, so that similar lengths meet

Result = TypeVar("Result")
Value = TypeVar("Value")
_Result_contra = TypeVar("_Result_contra", contravariant=True)
_Value_co = TypeVar("_Value_co", covariant=True)


class Pause(str):
    """A piece without text: no more is known for now, so give what there is, up to a line's end."""

    __slots__ = ()


PAUSE = Pause()


@dataclass(frozen=True)
class Excerpt:
    """A document of which only some lines matter: windows that hold none of them are not computed.

    Attributes:
        pieces: the whole text.
        lines: ranges of line numbers, from 1.
    """

    pieces: Iterable[str]
    lines: Sequence[range]

    def __iter__(self) -> Iterator[str]:
        """The pieces, for those who want the whole text."""
        return iter(self.pieces)


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens start .. stop - 1 are computed together; the results of first .. last - 1 are used."""

    start: int
    stop: int
    first: int
    last: int


class Windows(Protocol):
    """Cuts a growing sequence of tokens into windows."""

    @property
    def start_ids(self) -> Sequence[int]:
        """Ids in front of the document; they count as its first tokens."""
        ...

    @property
    def history(self) -> int:
        """How many tokens before a window's `stop` later windows may still need."""
        ...

    def next(self, before: Window | None, known: int, *, ended: bool) -> Window | None:
        """The window after another one.

        Args:
            before: the last window; None: this is the first one.
            known: tokens of the document that are known.
            ended: no more will come.

        Returns:
            None where nothing is left, or where it depends on tokens that are not known yet.

        Raises:
            ContextError, InputError: this document cannot be cut.
        """
        ...

    def row(self, ids: Sequence[int]) -> Sequence[int]:
        """What the model reads for a window of these ids."""
        ...


@dataclass(frozen=True, slots=True)
class WindowTokens:
    """The tokens of a window.

    Attributes:
        window: where in the document they are.
        ids: tokens start .. stop - 1.
        row: what the model reads for them.
        skipped: tokens between the last computed window's `last` and this one's `first`; no
            window uses them.
    """

    window: Window
    ids: Sequence[int]
    row: Sequence[int]
    skipped: Sequence[int]

    @property
    def used(self) -> slice:
        """The place of first .. last - 1 in `ids`."""
        return slice(self.window.first - self.window.start, self.window.last - self.window.start)


class Accumulator(Protocol[_Result_contra, _Value_co]):
    """Adds up the results of one document."""

    def begin(self, mark_bytes: int) -> None:
        """Called before the first token: the size of the byte order mark that was left out."""
        ...

    def add(self, tokens: WindowTokens, result: _Result_contra) -> None:
        """Take the result of the next window; windows come in their order."""
        ...

    def close(self) -> _Value_co:
        """The value of the whole document."""
        ...


Compute = Callable[[Sequence[WindowTokens]], Sequence[Result | Exception]]
Receive = Callable[[WindowTokens, Result | Exception], None]


class DocumentStream(Generic[Result, Value]):
    """Windows of many documents, computed in batches of similar length.

    Documents are iterables of text pieces; a piece may end anywhere. Windows of several documents
    share a batch, whatever a batch holds every document gets its own result, in the order of its
    windows, and documents come out in the order in which they went in. Memory depends on the batch
    size alone, not on the size or number of documents (except for what accumulators keep). The
    next document is opened only when the windows of those before were cut, so an endless iterable
    of documents is fine.

    A document whose iterator raises, that the tokenizer or `windows` refuse, or of which a window's
    result is an exception, gives that error in its place; the others go on. What `compute` raises
    ends the run.
    """

    def __init__(
        self,
        tokenizer: "CodeTokenizer",
        windows: Windows,
        compute: Compute[Result],
        *,
        batch_tokens: int,
    ) -> None:
        """Join the parts; nothing is computed yet.

        Args:
            tokenizer: makes ids of text.
            windows: cuts them.
            compute: gives one result for each window, in order, or an error of its document.
            batch_tokens: how many tokens it takes at once at best, padding counted.
        """
        self._tokenizer, self._windows = tokenizer, windows
        self._pool = _Pool(compute, batch_tokens)

    def run(
        self,
        documents: Iterable[Iterable[str]],
        accumulate: Callable[[], Accumulator[Result, Value]],
    ) -> Iterator[Value | Exception]:
        """Compute documents.

        Args:
            documents: the texts; of an `Excerpt` not all windows are computed.
            accumulate: makes an accumulator for each of them.

        Yields:
            What each accumulator's `close` gives, or the error of its document.
        """
        waiting: deque[_Document[Result, Value]] = deque()
        for pieces in documents:
            document = _Document(self._tokenizer, self._windows, accumulate())
            waiting.append(document)
            for tokens in document.cut(pieces):
                if tokens is not None:
                    self._pool.add(tokens, document.add)
                if self._pool.full:
                    self._pool.compute()
                    yield from _finished(waiting)
            yield from _finished(waiting)
        self._pool.compute()
        yield from _finished(waiting)

    def follow(
        self, pieces: Iterable[str], accumulator: Accumulator[Result, Value]
    ) -> Iterator[None]:
        """Compute one document as it comes; each time the accumulator got results, yield.

        The caller closes the accumulator at the end. A `PAUSE` among the pieces lets all
        that is known be computed at once, up to the last line's end, as if the document ended
        there: a program that follows a file gives each line as soon as it is complete.

        Raises:
            Exception: what the document's own iterator, the tokenizer or `windows` raised.
        """
        document = _Document(self._tokenizer, self._windows, accumulator)
        for tokens in document.cut(pieces):
            if tokens is not None:
                self._pool.add(tokens, document.add)
            if tokens is None or self._pool.full:
                self._pool.compute()
                yield
        self._pool.compute()
        if document.error is not None:
            raise document.error
        yield


class _Document(Generic[Result, Value]):
    """One document: windows out on one side, results in on the other."""

    def __init__(
        self, tokenizer: "CodeTokenizer", windows: Windows, accumulator: Accumulator[Result, Value]
    ) -> None:
        self.pending = 0  # windows that were cut and have no result yet
        self.ended = False
        self.error: Exception | None = None
        self._tokenizer, self._windows, self._accumulator = tokenizer, windows, accumulator
        self._line = 1  # of the next token that no window has used

    def cut(self, pieces: Iterable[str]) -> Iterator[WindowTokens | None]:
        """The windows, as the pieces come in; None at a pause."""
        try:
            yield from self._cut(pieces)
        # An error while reading one document must not end the others.
        except Exception as error:  # noqa: BLE001
            self.error = error
        self.ended = True

    def add(self, tokens: WindowTokens, result: Result | Exception) -> None:
        self.pending -= 1
        if isinstance(result, Exception):
            self.error = self.error or result
        else:
            self._accumulator.add(tokens, result)

    def outcome(self) -> Value | Exception:
        return self._accumulator.close() if self.error is None else self.error

    def _cut(self, pieces: Iterable[str]) -> Iterator[WindowTokens | None]:
        windows = self._windows
        lines = pieces.lines if isinstance(pieces, Excerpt) else None
        ids, dropped = [*windows.start_ids], 0  # tokens that are still needed; those before them
        skipped: list[int] = []
        window: Window | None = None
        for portion in self._portions(pieces):
            ids += portion or []
            known, ended = dropped + len(ids), not portion
            while (found := windows.next(window, known, ended=ended)) is not None:
                done = 0 if window is None else window.last
                own = ids[found.start - dropped : found.stop - dropped]
                between = ids[done - dropped : found.first - dropped]
                skipped += between
                window = found
                tokens = WindowTokens(found, own, windows.row(own), skipped)
                if lines is not None and not self._holds(between, tokens, lines):
                    skipped += own[tokens.used]
                    continue
                skipped = []
                self.pending += 1
                yield tokens
            if portion == []:
                yield None
            needed = 0 if window is None else max(window.stop - windows.history, dropped)
            ids, dropped = ids[needed - dropped :], needed

    def _holds(self, between: Sequence[int], tokens: WindowTokens, lines: Sequence[range]) -> bool:
        """Whether the tokens that a window uses lie in one of these lines; lines are counted."""
        first = self._line + self._line_ends(between)
        self._line = first + self._line_ends(tokens.ids[tokens.used])
        return any(wanted.start <= self._line and first < wanted.stop for wanted in lines)

    def _line_ends(self, ids: Sequence[int]) -> int:
        return self._tokenizer.decode_bytes(ids).count(b"\n")

    def _portions(self, pieces: Iterable[str]) -> Iterator[list[int] | None]:
        """Ids as they come; none at a pause, None at the end."""
        text = pieces_without_mark(pieces, self._accumulator.begin)
        yield from encode_pieces(self._tokenizer, text)
        yield None


def _finished(
    waiting: "deque[_Document[Result, Value]]",
) -> Iterator[Value | Exception]:
    """Take away the first documents as long as they are complete."""
    while waiting and waiting[0].ended and not waiting[0].pending:
        yield waiting.popleft().outcome()


class _Pool(Generic[Result]):
    """Windows that wait to be computed together with others of their length."""

    def __init__(self, compute: Compute[Result], batch_tokens: int) -> None:
        self._compute, self._batch_tokens = compute, batch_tokens
        self._waiting: list[tuple[Receive[Result], WindowTokens]] = []
        self._tokens = 0

    @property
    def full(self) -> bool:
        return self._tokens >= _POOLED_BATCHES * self._batch_tokens

    def add(self, tokens: WindowTokens, receive: "Receive[Result]") -> None:
        self._waiting.append((receive, tokens))
        self._tokens += len(tokens.row)

    def compute(self) -> None:
        """Compute everything that waits, and hand out the results in the order of the windows."""
        waiting, self._waiting, self._tokens = self._waiting, [], 0
        results: dict[int, Result | Exception] = {}
        for batch in self._batches([len(tokens.row) for _, tokens in waiting]):
            computed = self._compute([waiting[place][1] for place in batch])
            results.update(zip(batch, computed, strict=True))
        for place, (receive, tokens) in enumerate(waiting):
            receive(tokens, results[place])

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Places of windows that are computed together, the longest first."""
        order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
        while order:
            count = max(self._batch_tokens // max(lengths[order[0]], 1), 1)
            yield order[:count]
            order = order[count:]


def encode_pieces(tokenizer: "CodeTokenizer", pieces: Iterable[str]) -> Iterator[list[int]]:
    """Ids of the text that the pieces make together, in portions; an empty one for a `PAUSE`.

    Raises:
        InputError: a character that the vocabulary cannot spell.
    """
    for piece in cut_at_white_space(pieces):
        yield [] if piece is PAUSE else tokenizer.encode(piece)


def cut_at_white_space(pieces: Iterable[str]) -> Iterator[str]:
    """Cut a text into portions of at most `PIECE_CHARACTERS`, wherever the given pieces end.

    A cut comes before whitespace that follows something else: there a word ends for every pattern
    of the family, whatever comes next. A portion without such a place is cut at its full length,
    which may change a token or two. So may a `PAUSE`, which cuts after the last line feed.
    """
    held = ""
    for piece in pieces:
        if piece is PAUSE:
            whole = held.rfind("\n") + 1
            if whole:
                yield held[:whole]
                yield PAUSE
                held = held[whole:]
            continue
        held += piece
        while len(held) > PIECE_CHARACTERS:
            place = _word_end(held)
            yield held[:place]
            held = held[place:]
    if held:
        yield held


def _word_end(text: str) -> int:
    for space in ("\n", " "):
        place = text.rfind(space, 1, PIECE_CHARACTERS)
        while place > 0 and text[place - 1].isspace():
            place = text.rfind(space, 1, place)
        if place > 0:
            return place
    return PIECE_CHARACTERS
