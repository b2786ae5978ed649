"""What guesses save or cost on texts of several kinds, with a clock that only passes move.

Knows no machine: the built-in model writes every text once, plainly; then the text is replayed
through the speculative decoder, where a plain step takes a second and a pass what --costs say (as
measured by --measure). So no noise hides a loss, and every beginning of a text can be looked at.

Run: python benchmarks/speculation_replay.py [--cases 40] [--costs 1.38,1.68,...] [--measure]
"""

import argparse
import os
import random
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import pocket_coder
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.generation import speculative
from gpt_bigcode.generation.loop import Generation, Limits
from gpt_bigcode.generation.sampling import Sampler
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from speculation_texts import KINDS

BUILT_IN = Path(pocket_coder.__path__[0])
TOKENS = 64
# Plain steps for a pass over 1 to 8 guesses, as measured in NumPy with 15 M parameters.
COSTS = "1.38,1.68,1.92,2.14,2.40,2.64,2.98,3.34"
_PASSES, _CONTEXT_TOKENS = 60, 500

Text = tuple[list[int], list[int]]
"""The prompt's tokens, and those written behind it."""


class Replay:
    """A decoder that computes nothing and spends what its passes cost."""

    context_length, vocabulary_size, exact_steps = 1 << 20, 1, True

    def __init__(self, costs: Sequence[float]) -> None:
        """Costs of passes over 0, 1, ... guesses."""
        self.costs, self.now = costs, 0.0

    def prefill(self, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        """Nothing."""
        return np.zeros((len(prompts), 1), np.float32)

    def decode(self, tokens: Sequence[int]) -> np.ndarray:
        """Take a plain step."""
        return self.extend(tokens)

    def extend(self, tokens: Sequence[int]) -> np.ndarray:
        """Take a pass."""
        self.now += self.costs[len(tokens) - 1]
        return np.zeros((len(tokens), 1), np.float32)

    def truncate(self, length: int) -> None:
        """Nothing."""

    def keep(self, rows: Sequence[int]) -> None:
        """Nothing."""


def written(kind: str, cases: int, temperature: float) -> Iterator[Text]:
    """What the built-in model writes behind texts of a kind."""
    tokenizer = CodeTokenizer.from_file(BUILT_IN / "tokenizer.json")
    decoder = NumpyDecoder.load(BUILT_IN)
    texts = KINDS[kind](random.Random(5))  # noqa: S311 - the same texts for everyone
    for seed in range(cases):
        prompt = tokenizer.encode(next(texts)[0])[-_CONTEXT_TOKENS:] or [*tokenizer.end_ids][:1]
        steps = Generation(
            decoder,
            [prompt],
            sampler=Sampler.build(temperature=temperature),
            limits=Limits(TOKENS + 1),
            seed=seed,
        )
        yield prompt, [token.id for step in steps for token in step]


def replay(text: Text, costs: Sequence[float]) -> list[float]:
    """Plain steps by the time that each beginning of the text has taken."""
    prompt, tokens = text
    decoder = Replay(costs)
    vars(speculative)["perf_counter"] = lambda: decoder.now
    ahead = speculative.SpeculativeDecoder(decoder, sampler=Sampler(), max_tokens=TOKENS + 1)
    ahead.prefill([prompt])
    ratios = []
    for count, token in enumerate(tokens[:-1], start=1):
        ahead.decode([token])
        ratios.append(count / decoder.now)
    return ratios


def measured() -> list[float]:
    """Costs of passes over 0 to 8 guesses behind 500 tokens, the median of some."""
    decoder = NumpyDecoder.load(BUILT_IN)
    draw = np.random.default_rng(0)
    decoder.prefill([draw.integers(300, 8000, _CONTEXT_TOKENS).tolist()])
    tokens = draw.integers(300, 8000, 9).tolist()
    seconds: list[list[float]] = [[] for _ in tokens]
    for _ in range(_PASSES):
        for count in range(len(tokens)):
            started = perf_counter()
            if count:
                decoder.extend(tokens[: count + 1])
            else:
                decoder.decode(tokens[:1])
            seconds[count].append(perf_counter() - started)
            decoder.truncate(_CONTEXT_TOKENS)
    medians = [statistics.median(passes) for passes in seconds]
    return [value / medians[0] for value in medians]


def main() -> None:
    """Replay and print a table of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=40, help="of each kind")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS)[1:])
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--costs", default=COSTS)
    parser.add_argument("--measure", action="store_true", help="measure the costs first")
    arguments = parser.parse_args()
    costs = measured() if arguments.measure else [1.0, *map(float, arguments.costs.split(","))]
    print("passes over 0 to 8 guesses take " + ", ".join(f"{cost:.2f}" for cost in costs))
    print("| texts | cases | together | worst | 5 % | median | best | worst beginning |")
    print("|---" * 8 + "|")
    for kind in arguments.kinds:
        texts = [
            replay(text, costs) for text in written(kind, arguments.cases, arguments.temperature)
        ]
        ends = sorted(ratios[-1] for ratios in texts)
        together = len(texts) * TOKENS / sum(len(ratios) / ratios[-1] for ratios in texts)
        worst = min(min(ratios) for ratios in texts)
        low = ends[len(ends) // 20]
        print(
            f"| {kind} | {len(texts)} | {together:.2f} | {ends[0]:.3f} | {low:.3f}"
            f" | {statistics.median(ends):.2f} | {ends[-1]:.2f} | {worst:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
