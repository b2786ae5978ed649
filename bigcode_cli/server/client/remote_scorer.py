"""Scores from a remote engine: several requests at once, by its values of prompts."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.resolve import Found
from bigcode_cli.server.client.engine import Engine, RefusedPromptError
from bigcode_cli.server.client.remote import read_model
from gpt_bigcode.backends.interfaces import LogProbabilities
from gpt_bigcode.scoring.text_scorer import TextScorer
from gpt_bigcode.windowing.document_stream import WindowTokens

_ROUNDING = 1e-3  # above 0, of a certain token


@dataclass(frozen=True)
class _Limits:
    """What `TextScorer` asks of a scorer before it has something to compute."""

    context_length: int
    batch_tokens: int


class RemoteTextScorer(TextScorer):
    """A `TextScorer` whose weights are elsewhere."""

    def __init__(self, url: str, found: Found, notes: Notes, jobs: int) -> None:
        """Read the tokenizer; errors as for `RemoteTextModel`.

        Args:
            url: of the engine.
            found: the model, of which the tokenizer is used.
            notes: told which model is asked for.
            jobs: how many requests are sent at once.
        """
        config, tokenizer = read_model(found.directory)
        context = config.n_positions - 1  # one is left for the token that servers always write
        limits = _Limits(context, context * jobs)
        super().__init__(
            limits,  # type: ignore[arg-type]  # `compute` does not need the rest of a `Scorer`
            tokenizer,
            name=found.name,
            revision=found.revision,
            start_id=tokenizer.start_id(config),
        )
        self._engine, self._jobs = Engine(url), jobs
        self._served = self._engine.model_name(found.name)
        notes.detail(f"asking {url} for {self._served}")

    def compute(self, windows: Sequence[WindowTokens]) -> list[LogProbabilities | Exception]:
        """Ask for several windows at once.

        One that the server refuses, such as one that is too long for it, gives that error.

        Raises:
            Failure: the server does not answer, or gives no values of prompts.
        """
        pool = ThreadPoolExecutor(self._jobs)
        found: list[LogProbabilities | Exception] = []
        try:
            for tokens, values in zip(windows, pool.map(self._ask, windows), strict=True):
                found.append(values)
                self.count(tokens)
        except BaseException:
            self._engine.close()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return found

    def _ask(self, tokens: WindowTokens) -> LogProbabilities | Exception:
        import numpy as np

        body = {"model": self._served, "prompt": list(tokens.ids), "max_tokens": 1, "echo": True}
        body |= {"logprobs": 1, "temperature": 0}
        used = tokens.used
        try:
            choice = self._engine.complete(body)["choices"][0]
            values = choice["logprobs"]["token_logprobs"][used]
            found = np.asarray(values, np.float64)
        except RefusedPromptError as error:
            return self._failure(str(error))
        except (LookupError, TypeError, ValueError):
            raise self._failure("no values of prompts") from None
        if found.shape != (used.stop - used.start,):
            raise self._failure(f"{len(found)} values of {used.stop - used.start} tokens")
        if not np.isfinite(found.sum()) or (found > _ROUNDING).any():
            raise self._failure("values of prompts that are not logarithms of probabilities")
        return found

    def _failure(self, why: str) -> Failure:
        hint = "score needs a server that takes token ids with echo and logprobs, such as vLLM"
        return Failure("server", f"{self._engine.url}: {why}", hint=hint)
