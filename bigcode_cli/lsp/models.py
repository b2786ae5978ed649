"""The models of the language server: a server's where one runs, else loaded here, each once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.options import ComputeOptions
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.resolve import Found, find_model
from bigcode_cli.server.client.judging import WarmScorer, WarmTagger
from bigcode_cli.server.client.warm import warm_model
from bigcode_cli.server.client.writing import WarmTextModel
from bigcode_cli.server.library import Compute, Task, load_model
from bigcode_cli.server.paths import ServedModel


class CancelledWorkError(Exception):
    """The request was cancelled."""


@dataclass(kw_only=True)
class Models:
    """What the language server computes with; may be called from several threads.

    Attributes:
        name: the language model; None: the built-in one.
        compute: how models run.
        server: whether a server is asked, see `find_server`.
        notes: where notes go; never to an editor's buffer.
    """

    name: str | None
    compute: ComputeOptions
    server: str | None
    notes: Notes
    _loaded: dict[Task, Any] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def fill(self, prefix: str, suffix: str, max_tokens: int, cancelled: Callable[[], bool]) -> str:
        """What belongs between two texts.

        Args:
            prefix: the text before the cursor.
            suffix: the text after it.
            max_tokens: the most tokens that are written.
            cancelled: asked between two tokens.

        Raises:
            CancelledWorkError: it was cancelled.
        """
        from gpt_bigcode.completion.options import CompletionOptions, InfillOptions
        from gpt_bigcode.errors import InfillUnsupportedError

        model = self._model(Task.GENERATE, partial(WarmTextModel, exact=False))
        try:
            order = getattr(model, "typing_order", None)  # a server knows by itself
            options = InfillOptions(max_tokens=max_tokens, order=order)
            stream = model.stream_infill(prefix, suffix, options)
        except InfillUnsupportedError:
            stream = model.stream(prefix, CompletionOptions(max_tokens=max_tokens, until="block"))
        written = ""
        for piece in stream:
            if cancelled():
                if hasattr(stream, "close"):
                    stream.close()
                raise CancelledWorkError
            written += piece
        return written

    def tag(self, text: str) -> list[Any]:
        """The spans that look like personal data or secrets."""
        from gpt_bigcode.labeling.options import TagOptions

        model = self._model(Task.TAG, WarmTagger)
        outcome = next(iter(model.tag_many([[text]], TagOptions())))
        return [] if isinstance(outcome, Exception) else list(outcome.spans)

    def score(self, text: str) -> list[Any]:
        """The values of all lines."""
        from gpt_bigcode.scoring.results import ScoreOptions

        model = self._model(Task.SCORE, WarmScorer)
        outcome = next(iter(model.score_many([[text]], ScoreOptions(lines=True))))
        return [] if isinstance(outcome, Exception) else list(outcome.lines)

    def _model(self, task: Task, kind: Callable[..., Any]) -> Any:
        """A server's model, or the one that was loaded here."""
        found = self._find(task)
        served = ServedModel(found, self.compute, self.server)
        return warm_model(kind, served, self.notes, partial(self._load, found, task))

    def _find(self, task: Task) -> Found:
        return find_model(None if task is Task.TAG else self.name, command=task.command)

    def _load(self, found: Found, task: Task) -> Any:
        with self._lock:
            if task not in self._loaded:
                options = self.compute
                compute = Compute(
                    device=options.device,
                    precision=options.precision.value,
                    threads=options.threads,
                )
                self._loaded[task] = load_model(found, task, compute)
            return self._loaded[task]


def message_of(error: Exception) -> str:
    """An error for an editor's message line; an unexpected one shows its class alone."""
    from gpt_bigcode.errors import GPTBigCodeError

    if isinstance(error, (Failure, GPTBigCodeError)):
        return str(error)
    return type(error).__name__
