"""TextScorer: how surprising a text is to a model, as a whole, by line and by token.

Knows no file and no option of a command; `windows` says what is read together, `scorers` computes.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Self

from gpt_bigcode.backends.interfaces import LogProbabilities, Row, Scorer
from gpt_bigcode.backends.select import open_scorer
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.hardware import LoadingPolicy
from gpt_bigcode.scoring.accumulator import Ledger
from gpt_bigcode.scoring.results import Score
from gpt_bigcode.scoring.windows import WindowMode, WindowPlan
from gpt_bigcode.tokenization.chunks import encode_pieces, without_mark
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

_SORTED_BATCHES = 4  # so many are collected, so that windows of similar length meet


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """How to score; everything has a default.

    Attributes:
        mode: how a text that is longer than the context is cut.
        stride: tokens that a window scores; None: half of the context.
        lines: give the values of lines too.
        tokens: give the values of tokens too.
    """

    mode: WindowMode = WindowMode.STRIDED
    stride: int | None = None
    lines: bool = False
    tokens: bool = False


class TextScorer:
    """A model that tells how surprising texts are."""

    def __init__(
        self,
        scorer: Scorer,
        tokenizer: CodeTokenizer,
        *,
        name: str = "model",
        start_id: int | None = None,
        load_seconds: float = 0.0,
    ) -> None:
        self.scorer = scorer
        self.tokenizer = tokenizer
        self.name = name
        self.revision: str | None = None
        self.start_id = tokenizer.end_of_text_id if start_id is None else start_id
        self.load_seconds = load_seconds

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        policy: LoadingPolicy | None = None,
    ) -> Self:
        """Read a checkpoint directory; arguments and errors are those of `TextModel.load`."""
        started = perf_counter()
        directory = Path(directory)
        config = GPTBigCodeConfig.from_json_file(directory / "config.json")
        tokenizer = CodeTokenizer.from_file(directory / "tokenizer.json")
        tokenizer.validate_against(config)
        scorer = open_scorer(
            directory, config, device=device, precision=precision, threads=threads, policy=policy
        )
        return cls(
            scorer,
            tokenizer,
            name=directory.resolve().name,
            start_id=tokenizer.start_id(config),
            load_seconds=perf_counter() - started,
        )

    def plan(self, options: ScoreOptions) -> WindowPlan:
        """How texts are cut.

        Raises:
            OptionError: a stride that this model or mode cannot have.
        """
        return WindowPlan(
            context_length=self.scorer.context_length, mode=options.mode, stride=options.stride
        )

    def score(self, text: str, options: ScoreOptions | None = None) -> Score:
        """Score one text.

        `<|endoftext|>` stands in front of it and is not scored; every byte is read as it is, only a
        byte order mark is left out.

        Raises:
            ContextError: mode full, and the text does not fit.
            InputError: text that the tokenizer cannot hold; mode llama, and it is too short.
            NonFiniteError: the model computed NaN or infinity.
            OptionError: see `plan`.
        """
        outcome = next(self.score_many([[text]], options))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def score_many(
        self, documents: Iterable[Iterable[str]], options: ScoreOptions | None = None
    ) -> Iterator[Score | Exception]:
        """Score texts that come in pieces; memory does not grow with their size or number.

        Windows of similar length are read together, whichever text they belong to.

        Yields:
            What `score` gives, in the order of the texts. In the place of a text that cannot be
            scored stands what was raised: by its own iterator, or an error that `score` names for
            the text. The others go on.

        Raises:
            NonFiniteError, MemoryLimitError: the model fails.
            OptionError: see `plan`.
        """
        options = options or ScoreOptions()
        self.plan(options)
        return self._score_many(documents, options)

    def _score_many(
        self, documents: Iterable[Iterable[str]], options: ScoreOptions
    ) -> Iterator[Score | Exception]:
        pool = _Pool(self.scorer)
        open_texts: deque[_Text] = deque()
        for document in documents:
            text = _Text(self, document, options)
            open_texts.append(text)
            for part in text.parts():
                pool.add(text, part)
                if pool.full:
                    pool.compute()
            while open_texts and open_texts[0].complete:
                yield open_texts.popleft().outcome()
        pool.compute()
        for text in open_texts:
            yield text.outcome()


@dataclass(frozen=True)
class _Part:
    """A window as the model reads it, and the ids between the window before and what it scores."""

    row: Row
    between: Sequence[int]


class _Pool:
    """Windows that wait to be read together with others of their length."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._waiting: list[tuple[_Text, _Part]] = []
        self._tokens = 0

    @property
    def full(self) -> bool:
        return self._tokens >= _SORTED_BATCHES * self._scorer.batch_tokens

    def add(self, text: "_Text", part: _Part) -> None:
        self._waiting.append((text, part))
        self._tokens += len(part.row.ids) - 1
        text.waiting += 1

    def compute(self) -> None:
        """Read everything that waits; every text gets its windows in their order."""
        rows = [part.row for _, part in self._waiting]
        scored: dict[int, LogProbabilities] = {}
        for batch in _batches(rows, self._scorer.batch_tokens):
            values = self._scorer.log_probabilities([rows[place] for place in batch])
            scored.update(zip(batch, values, strict=True))
        for place, (text, part) in enumerate(self._waiting):
            text.add(part, scored[place])
        self._waiting, self._tokens = [], 0


def _batches(rows: Sequence[Row], most_tokens: int) -> Iterator[list[int]]:
    """Places of rows that are read together, the longest first, padding counted."""
    order = sorted(range(len(rows)), key=lambda place: -len(rows[place].ids))
    while order:
        count = max(most_tokens // len(rows[order[0]].ids), 1)
        yield order[:count]
        order = order[count:]


class _Text:
    """One text on its way: rows of tokens on one side, its values on the other."""

    def __init__(self, model: TextScorer, pieces: Iterable[str], options: ScoreOptions) -> None:
        self.waiting = 0
        self._model = model
        self._plan = model.plan(options)
        self._pieces = pieces
        self._error: Exception | None = None
        self._ended = False
        self._ledger = Ledger(model.tokenizer, lines=options.lines, tokens=options.tokens)

    @property
    def complete(self) -> bool:
        return self._ended and not self.waiting

    def parts(self) -> Iterator[_Part]:
        """The windows of the text, as its pieces come in."""
        try:
            yield from self._parts()
        # Whatever the reader of one text raises must not end the others.
        except Exception as error:  # noqa: BLE001
            self._error = error
        self._ended = True

    def add(self, part: _Part, scored: LogProbabilities) -> None:
        """Take the values of the next window."""
        self.waiting -= 1
        self._ledger.skip(part.between)
        self._ledger.add(part.row.ids[part.row.first :], scored)

    def outcome(self) -> Score | Exception:
        """The values, or what went wrong."""
        return self._error or self._ledger.close()

    def _parts(self) -> Iterator[_Part]:
        plan = self._plan
        ids = [self._model.start_id] if plan.mode.reads_start else []
        dropped, done = 0, 0  # tokens that are not needed any more; end of the last window
        for portion in self._portions():
            unneeded = max(done - plan.context_length, dropped)
            ids, dropped = ids[unneeded - dropped :] + (portion or []), unneeded
            known, ended = dropped + len(ids), portion is None
            while (window := plan.next(done, known, ended=ended)) is not None:
                row = ids[window.start - dropped : window.stop - dropped]
                between = ids[done - dropped : window.first - dropped]
                yield _Part(Row(row, window.first - window.start), between)
                done = window.stop

    def _portions(self) -> Iterator[list[int] | None]:
        """Ids as they come; None at the end."""
        text = without_mark(self._pieces, self._ledger.begin)
        yield from encode_pieces(self._model.tokenizer, text)
        yield None
