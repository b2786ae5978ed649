"""The server's interface to the library: loads models, starts completions, gives results."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigcode_cli.framework.options import KeptModelOptions
from bigcode_cli.framework.output import Notes
from bigcode_cli.models import load
from bigcode_cli.models.resolve import Found, find_model
from bigcode_cli.server.dialects.markers import special_parts, split_gap
from bigcode_cli.server.engine.prefix_tree import PrefixTree
from bigcode_cli.server.engine.tails import Tails
from bigcode_cli.server.engine.thread import Engine, Ticket
from bigcode_cli.server.judged_text import JudgedText
from gpt_bigcode.hardware import Precision

if TYPE_CHECKING:
    from bigcode_cli.server.engine.decoder import Reuse
    from gpt_bigcode.completion.options import CompletionOptions
    from gpt_bigcode.completion.prompt import Prompt
    from gpt_bigcode.completion.text_model import TextModel


_PAGE_TOKENS = 32


class Task(StrEnum):
    """What a model is loaded for."""

    GENERATE = "generate"
    SCORE = "score"
    CLASSIFY = "classify"
    TAG = "tag"

    @property
    def command(self) -> str:
        """A command that has the same built-in model."""
        return "complete" if self is Task.GENERATE else self.value


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where and in which numbers a model runs."""

    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None


def find(name: str | None, task: Task) -> Found:
    """Find a model by its name; None means the built-in one for the task.

    Raises:
        Failure: it is not found or cannot be used.
    """
    found = find_model(name, option="model", command=task.command)
    own = find_model(None, command=task.command)
    # Commands name a folder, and `ps` and `stop` a built-in model by its name.
    return own if found.directory == own.directory else found


def load_model(found: Found, task: Task, compute: Compute) -> Any:
    """Load a model, on the thread that will compute with it.

    Raises:
        Failure, GPTBigCodeError: see `bigcode_cli.models.load`.
    """
    options = KeptModelOptions(
        model=found.name,
        device=compute.device,
        precision=Precision(compute.precision),
        threads=compute.threads,
    )
    quiet = Notes(quiet=True)
    if task is Task.GENERATE:
        return load.load_text_model(found, options, quiet)
    if task is Task.SCORE:
        return load.load_text_scorer(found, options, quiet)
    if task is Task.CLASSIFY:
        return load.load_text_classifier(found, options, quiet)  # type: ignore[arg-type]
    from gpt_bigcode.labeling.text_tagger import TextTagger

    return load.load(TextTagger.load, found, options, quiet)


@dataclass(frozen=True)
class KeptPrompts:
    """What is kept of a model's prompts: by blocks, by tokens, and what follows the blocks."""

    blocks: PrefixTree
    tokens: PrefixTree
    tails: Tails | None

    @property
    def bytes(self) -> int:
        """What all of it takes."""
        tails = self.tails.bytes if self.tails else 0
        return self.blocks.bytes + self.tokens.bytes + tails


def kept_prompts(model: "TextModel", limit_bytes: int) -> KeptPrompts | None:
    """Room for a model's prompts; None if its rows cannot be taken apart.

    Args:
        model: the model.
        limit_bytes: what all may take.
    """
    from gpt_bigcode.backends.interfaces import BlockDecoder

    decoder = model.decoder
    if not isinstance(decoder, BlockDecoder):
        return None
    third = limit_bytes // 3
    loose = decoder.loose_tokens
    tails = Tails(third, decoder.ends, loose) if loose else None
    return KeptPrompts(
        PrefixTree(third, decoder.block_tokens), PrefixTree(third, _PAGE_TOKENS), tails
    )


@dataclass(frozen=True, kw_only=True)
class Generate:
    """What is to be written.

    Attributes:
        prompt: a text to continue, or token ids; None: fill a gap.
        raw: control tokens in the prompt's text are read as such, and so are sentinels of gaps,
            whatever model they are of.
        prefix: the text before the gap.
        suffix: the text after it.
        options: those of `CompletionOptions` and `InfillOptions` that differ from the defaults,
            by their names.
        context_files: path and text of other files.
    """

    prompt: str | tuple[int, ...] | None = None
    raw: bool = False
    prefix: str = ""
    suffix: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    context_files: tuple[tuple[str, str], ...] = ()


class Writer:
    """Writes the answer to one request."""

    def __init__(self, model: "TextModel", engine: Engine, ticket: Ticket, reuse: "Reuse") -> None:
        """Give a request its own state of a model that others use too."""
        from bigcode_cli.server.engine.decoder import ServedDecoder

        self._model = copy(model)
        self.decoder = ServedDecoder(model.decoder, engine, ticket, reuse)  # type: ignore[arg-type]
        self._model.decoder = self.decoder
        if not reuse.exact:
            self._model.infill_order = model.typing_order

    def start(self, wanted: Generate) -> "Written":
        """Read options and prompt.

        Raises:
            GPTBigCodeError: an option out of range, a text that does not fit, a model that cannot
                fill gaps.
        """
        from gpt_bigcode.completion.text_model import CompletionRun

        wanted = self._without_sentinels(wanted)
        options = _options(wanted)
        if wanted.prompt is None:
            run = self._model._prepare_infill(  # noqa: SLF001  # see the module
                wanted.prefix, wanted.suffix, options
            )
        elif isinstance(wanted.prompt, str):
            run = self._model._prepare(wanted.prompt, options)  # noqa: SLF001  # see the module
        else:
            run = CompletionRun(self._model, self._prompt_of(wanted.prompt, options), options)
        return Written(run, held=options.min_confidence is not None)

    def _without_sentinels(self, wanted: Generate) -> Generate:
        """A raw prompt as a gap, as token ids, or as the plain text that it is."""
        if not wanted.raw or not isinstance(wanted.prompt, str):
            return wanted
        gap = split_gap(wanted.prompt)
        if gap is not None:
            options = {**wanted.options, "order": gap.order}
            return replace(
                wanted, prompt=None, prefix=gap.prefix, suffix=gap.suffix, options=options
            )
        tokenizer = self._model.tokenizer
        if special_parts(wanted.prompt, tokenizer.special_ids) is None:
            return wanted
        return replace(wanted, prompt=tuple(encode_raw(tokenizer, wanted.prompt)))

    def _prompt_of(self, ids: Sequence[int], options: "CompletionOptions") -> "Prompt":
        """A prompt that came as token ids; its beginning is dropped if it does not fit."""
        from gpt_bigcode.completion.prompt import Prompt
        from gpt_bigcode.errors import ContextError, InputError

        model = self._model
        if not ids or not 0 <= min(ids) <= max(ids) < model.decoder.vocabulary_size:
            raise InputError(f"token ids: not all in 0..{model.decoder.vocabulary_size - 1}")
        length = model.decoder.context_length
        room = length - min(options.max_tokens, length // 2)
        dropped = max(len(ids) - room, 0)
        if dropped and not options.truncate:
            raise ContextError(f"the prompt has {len(ids)} tokens, the model has room for {room}")
        text = model.tokenizer.decode_bytes(ids).decode("utf-8", "replace")
        return Prompt(ids=tuple(ids[dropped:]), text=text, crlf=False, dropped_tokens=dropped)


def encode_raw(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text in which the model's control tokens are read as such.

    Raises:
        InputError: text that the tokenizer cannot hold.
    """
    ids: list[int] = []
    for part in special_parts(text, tokenizer.special_ids) or [text]:
        ids += [part] if isinstance(part, int) else tokenizer.encode(part)
    return ids


class Written:
    """An answer that is being written."""

    def __init__(self, run: Any, *, held: bool) -> None:
        self._run, self._held = run, held

    @property
    def counts(self) -> dict[str, int]:
        """Tokens that the model reads, and those that did not fit."""
        counts: dict[str, int] = self._run.prompt.counts
        return counts

    def pieces(self) -> Iterator[tuple[int, str]]:
        """Number of the choice and what may be shown of it now."""
        for index, piece in self._run.pieces():
            if not self._held:
                yield index, piece
        if self._held:
            for choice in self._run.completion().choices:
                if choice.text:
                    yield choice.index, choice.text

    def completion(self) -> dict[str, Any]:
        """The answer as far as it is written, in the form of the contract."""
        document: dict[str, Any] = self._run.completion().to_dict()
        return document


def _options(wanted: Generate) -> Any:
    """Build the library's options."""
    from gpt_bigcode.completion.options import CompletionOptions, ContextFile, InfillOptions

    kind = InfillOptions if wanted.prompt is None else CompletionOptions
    known = {one.name for one in fields(kind)}
    values = {name: value for name, value in wanted.options.items() if name in known}
    files = tuple(ContextFile(path, text) for path, text in wanted.context_files)
    return kind(**values, context_files=files)


def judge_many(
    model: Any, task: Task, texts: Sequence[JudgedText], options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Score, classify or tag texts: one object a text, in the form of the contract.

    Raises:
        GPTBigCodeError: an invalid option, or the model fails.
    """
    documents = [text.document() for text in texts]
    if task is Task.SCORE:
        from gpt_bigcode.scoring.results import ScoreOptions
        from gpt_bigcode.windowing.score_windows import WindowMode

        mode = WindowMode(options.pop("window", "strided"))
        outcomes = model.score_many(documents, ScoreOptions(mode=mode, **options))
    elif task is Task.CLASSIFY:
        outcomes = model.classify_many(documents, **options)
    else:
        from gpt_bigcode.labeling.options import TagOptions

        outcomes = model.tag_many(documents, TagOptions(**options))
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            reason = getattr(outcome, "slug", "internal")
            yield {"status": "error", "reason": reason, "detail": str(outcome)}
        else:
            yield {"status": "ok", **_SHOWN[task](outcome)}


def _score(score: Any) -> dict[str, Any]:
    document = {
        "tokens": score.tokens,
        "bytes": score.bytes,
        "nll": score.nll,
        "bits_per_byte": score.bits_per_byte,
        "perplexity": score.perplexity,
        "windows": score.windows,
    }
    if score.lines:
        document["lines"] = [asdict(line) for line in score.lines]
    if score.token_scores:
        document["token_scores"] = [asdict(token) for token in score.token_scores]
    return document


def _labels(labels: Any) -> dict[str, Any]:
    return {
        "label": labels.label,
        "score": labels.score,
        "scores": dict(zip(labels.names, labels.values, strict=False)),
        "tokens": labels.tokens,
        "bytes": labels.bytes,
    }


def _classification(result: Any) -> dict[str, Any]:
    document = {
        **_labels(result),
        "windows": result.windows,
        "problem": result.problem.value,
        "names": list(result.names),
    }
    if result.window_labels:
        document["window_labels"] = [
            {**_labels(one), "start": one.start, "end": one.end} for one in result.window_labels
        ]
    return document


def _tagging(tagging: Any) -> dict[str, Any]:
    """The spans without their text, which the client has."""
    spans = [
        {name: value for name, value in asdict(span).items() if name != "text"}
        for span in tagging.spans
    ]
    return {"tokens": tagging.tokens, "windows": tagging.windows, "spans": spans}


_SHOWN: dict[Task, Callable[[Any], dict[str, Any]]] = {
    Task.SCORE: _score,
    Task.CLASSIFY: _classification,
    Task.TAG: _tagging,
}


def on_engine(model: Any, task: Task, engine: Engine, ticket: Ticket) -> Any:
    """The same scorer, classifier or tagger, computing on the engine's thread for one request."""
    served = copy(model)
    name = "scorer" if task is Task.SCORE else "labeler"
    setattr(served, name, _Calls(getattr(model, name), engine, ticket))
    return served


class _Calls:
    """An object whose methods run on the engine's thread."""

    def __init__(self, inner: Any, engine: Engine, ticket: Ticket) -> None:
        self._inner, self._engine, self._ticket = inner, engine, ticket

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value
        return lambda *arguments: self._engine.call(self._ticket, lambda: value(*arguments))


def weight_bytes(directory: Path) -> int:
    """What the files of a model's weights take."""
    return sum(path.stat().st_size for path in directory.glob("*.safetensors"))
