"""The per-document work of a worker: the library's own calls, and columns for their results."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from bigcode_cli.commands.classify.gates import is_certain
from bigcode_cli.commands.tag.redact import placeholder
from bigcode_cli.distributed.plan import BlockStats, JobKind, Plan
from bigcode_cli.files.encodings import AnyDecoder
from bigcode_cli.files.sources import decode_any
from gpt_bigcode.completion.options import Completion, CompletionOptions, InfillOptions
from gpt_bigcode.completion.text_model import TextModel
from gpt_bigcode.errors import GPTBigCodeError
from gpt_bigcode.hardware import Job, LoadingPolicy
from gpt_bigcode.labeling.languages import UNKNOWN
from gpt_bigcode.labeling.options import TagOptions
from gpt_bigcode.labeling.text_classifier import TextClassifier
from gpt_bigcode.labeling.text_tagger import TextTagger
from gpt_bigcode.scoring.results import ScoreOptions
from gpt_bigcode.scoring.text_scorer import TextScorer
from gpt_bigcode.windowing.score_windows import WindowMode

_PIECE_CHARACTERS = 1 << 15
_BUCKETS_PER_BIT = 4
_LAST_BUCKET = 8.0

STATUS_FIELDS = (pa.field("status", pa.string()), pa.field("reason", pa.string()))
_SPAN = pa.struct(
    [
        ("label", pa.string()),
        *((name, pa.int64()) for name in ("start", "end", "start_line", "start_column")),
        *((name, pa.int64()) for name in ("end_line", "end_column")),
        ("score", pa.float64()),
    ]
)
_SPAN_NAMES = tuple(field.name for field in _SPAN)
FIELDS: dict[JobKind, tuple[pa.Field, ...]] = {
    JobKind.SCORE: (
        pa.field("nll", pa.float64()),
        pa.field("bits_per_byte", pa.float64()),
        pa.field("perplexity", pa.float64()),
        pa.field("tokens", pa.int64()),
    ),
    JobKind.CLASSIFY: (pa.field("label", pa.string()), pa.field("score", pa.float64())),
    JobKind.TAG: (pa.field("spans", pa.list_(_SPAN)),),
    JobKind.COMPLETE: (
        pa.field("completion", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("completion_tokens", pa.int64()),
    ),
}
FIELDS[JobKind.INFILL] = FIELDS[JobKind.COMPLETE]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """What is computed of a row.

    Attributes:
        text: the text, or the prefix; bytes for a search of what is not UTF-8.
        suffix: the text after the gap.
    """

    text: Any
    suffix: Any = None


class Documents(Protocol):
    """A loaded job."""

    def __call__(
        self, documents: Iterable[Document], stats: BlockStats
    ) -> Iterable[Row | Exception]:
        """One row of values for each document, in order, or what went wrong with it."""
        ...


def load(plan: Plan, folder: Path) -> Documents:
    """Load the model of a plan, once for a worker.

    Raises:
        GPTBigCodeError: see the library's `load`.
    """
    model = plan.model
    job = Job.SCORING if plan.job is JobKind.SCORE else Job.GENERATION
    common: dict[str, Any] = {
        "device": model.device,
        "precision": model.precision,
        "threads": model.threads,
        "policy": LoadingPolicy(job=job),
    }
    if plan.job is JobKind.SCORE:
        scorer = TextScorer.load(folder, **common)
        scorer.scorer = _bounded(scorer.scorer, model.batch_tokens)
        mode, stride = WindowMode(plan.options["window"]), plan.options["stride"]
        return partial(_score, scorer, ScoreOptions(mode=mode, stride=stride))
    if plan.job is JobKind.CLASSIFY:
        classifier = TextClassifier.load(folder, **common)
        classifier.labeler = _bounded(classifier.labeler, model.batch_tokens)
        return partial(_classify, classifier)
    if plan.job is JobKind.TAG:
        tagger = TextTagger.load(folder, **common)
        tagger.labeler = _bounded(tagger.labeler, model.batch_tokens)
        labels = plan.options.get("labels")
        options = TagOptions(labels=frozenset(labels) if labels else None)
        return partial(_tag, tagger, options, redact=plan.redact)
    text_model = TextModel.load(folder, **common)
    return partial(_generate, text_model, plan)


class _Bounded:
    """An engine that says that it computes fewer tokens at once."""

    def __init__(self, engine: Any, batch_tokens: int) -> None:
        self._engine, self.batch_tokens = engine, batch_tokens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def _bounded(engine: Any, batch_tokens: int | None) -> Any:
    return engine if batch_tokens is None else _Bounded(engine, batch_tokens)


def pieces(text: str) -> Iterator[str]:
    """A text in pieces of bounded size, as the windows of a long one need it."""
    for start in range(0, len(text), _PIECE_CHARACTERS):
        yield text[start : start + _PIECE_CHARACTERS]


def _score(
    model: TextScorer, options: ScoreOptions, documents: Iterable[Document], stats: BlockStats
) -> Iterator[Row | Exception]:
    texts = (pieces(document.text) for document in documents)
    for outcome in model.score_many(texts, options):
        if isinstance(outcome, Exception):
            yield outcome
            continue
        stats.tokens += outcome.tokens
        stats.bytes += outcome.bytes
        stats.nll += outcome.nll
        bits = outcome.bits_per_byte
        if bits is not None:
            bucket = min(int(bits * _BUCKETS_PER_BIT) / _BUCKETS_PER_BIT, _LAST_BUCKET)
            stats.bits[f"{bucket:.2f}"] = stats.bits.get(f"{bucket:.2f}", 0) + 1
        yield {
            "nll": outcome.nll,
            "bits_per_byte": bits,
            "perplexity": outcome.perplexity,
            "tokens": outcome.tokens,
        }


def _classify(
    model: TextClassifier, documents: Iterable[Document], stats: BlockStats
) -> Iterator[Row | Exception]:
    for outcome in model.classify_many(pieces(document.text) for document in documents):
        if isinstance(outcome, Exception):
            yield outcome
            continue
        label = outcome.label if is_certain(outcome, model.threshold) else UNKNOWN
        stats.tokens += outcome.tokens
        stats.bytes += outcome.bytes
        stats.labels[label or "none"] = stats.labels.get(label or "none", 0) + 1
        yield {"label": label, "score": outcome.score if label else outcome.number}


def _tag(
    model: TextTagger,
    options: TagOptions,
    documents: Iterable[Document],
    stats: BlockStats,
    *,
    redact: bool,
) -> Iterator[Row | Exception]:
    waiting: deque[tuple[str | bytes, AnyDecoder]] = deque()

    def texts() -> Iterator[Iterator[str]]:
        for document in documents:
            decoder = AnyDecoder()
            waiting.append((document.text, decoder))
            if isinstance(document.text, bytes):
                yield decode_any(BytesIO(document.text), decoder, lambda _: None)
            else:
                yield pieces(document.text)

    for outcome in model.tag_many(texts(), options):
        text, decoder = waiting.popleft()
        if isinstance(outcome, Exception):
            yield outcome
            continue
        stats.tokens += outcome.tokens
        data = text if isinstance(text, bytes) else text.encode()
        stats.bytes += len(data)
        spans = []
        for span in outcome.spans:
            stats.spans[span.label] = stats.spans.get(span.label, 0) + 1
            values = {name: getattr(span, name) for name in _SPAN_NAMES}
            values |= {name: decoder.file_offset(values[name]) for name in ("start", "end")}
            spans.append(values)
        redacted = {"redacted": _redacted(data, spans, decoder)} if redact else {}
        yield {"spans": spans, **redacted}


def _redacted(data: bytes, spans: Sequence[Row], decoder: AnyDecoder) -> bytes:
    parts, place = [], 0
    for span in spans:
        parts += [data[place : span["start"]], decoder.encode(placeholder(span["label"]))]
        place = span["end"]
    return b"".join([*parts, data[place:]])


def _generate(
    model: TextModel, plan: Plan, documents: Iterable[Document], stats: BlockStats
) -> Iterator[Row | Exception]:
    values = {**plan.options, "stop": tuple(plan.options.get("stop", ()))}
    if plan.job is JobKind.INFILL:
        infill = InfillOptions(**values)

        def call(one: Document) -> Completion:
            return model.infill(one.text, one.suffix, infill)
    else:
        complete = CompletionOptions(**values)

        def call(one: Document) -> Completion:
            return model.complete(one.text, complete)

    for document in documents:
        try:
            completion = call(document)
        except GPTBigCodeError as error:
            yield error
            continue
        choice = completion.choices[0]
        stats.tokens += choice.completion_tokens
        reason = choice.finish_reason.value
        stats.labels[reason] = stats.labels.get(reason, 0) + 1
        yield {
            "completion": choice.text,
            "finish_reason": reason,
            "completion_tokens": choice.completion_tokens,
        }
