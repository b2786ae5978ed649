"""Where the time of one decode step goes: products, attention, norms, choosing a token, its text.

Knows the names of the engines' parts, and nothing of what they compute. Greedy, one row, behind 512
tokens of context; the text passes what looks for its end, as in `complete`.
Run: python benchmarks/profile_step.py [--model DIR] [--engines E...] [--steps N]
"""

import argparse
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does

from contest import machine
from gpt_bigcode.backends.interfaces import Decoder
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.generation.loop import choose_token, row_generators
from gpt_bigcode.generation.sampling import Sampler
from gpt_bigcode.stopping.watcher import TextStop
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

BUILT_IN = Path(__file__).resolve().parents[1] / "model" / "pocket_coder"
CONTEXT_TOKENS = 512
ENGINES = ("numpy", "float32", "int8")
_NUMPY_PARTS = {
    "_product": "products",
    "_attend": "attention",
    "_norm": "norms",
    "_activation": "activation",
}
_TORCH_PARTS = {
    "linear": "products",
    "addmm": "products",
    "mm": "products",
    "attention": "attention",
    "layer_norm": "norms",
    "gelu": "activation",
}
PARTS = (
    *("products", "attention", "norms", "activation"),
    *("choosing", "spelling", "other operators"),
)


class Stopwatch:
    """Seconds by part, without those of the parts inside."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[float] = []  # seconds of the parts inside each open one

    def wrap(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def timed(*values: Any, **named: Any) -> Any:
            self._open.append(0.0)
            started = perf_counter()
            try:
                return function(*values, **named)
            finally:
                elapsed = perf_counter() - started
                self.seconds[part] += elapsed - self._open.pop()
                if self._open:
                    self._open[-1] += elapsed

        return timed


Choose = Callable[..., Any]
Spell = Callable[[int], object]


def seconds_of_steps(
    decoder: Decoder,
    count: int,
    spell: Spell,
    choose: Choose = choose_token,
    around: AbstractContextManager[None] | None = None,
) -> float:
    """Read a prompt, then decode so many tokens within `around`; seconds of the latter."""
    prompt = [100 + (7919 * place) % 8000 for place in range(CONTEXT_TOKENS)]
    generator = row_generators(None, 1)[0]
    logits = decoder.prefill([prompt])
    with around or nullcontext():
        started = perf_counter()
        for _ in range(count):
            token = choose(logits[0], [], Sampler(), generator)
            spell(token.id)
            logits = decoder.decode([token.id])
        return perf_counter() - started


@contextmanager
def torch_parts(watch: Stopwatch) -> Iterator[None]:
    """Collect the operators' own times from PyTorch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        yield
    for event in recorded.key_averages():
        part = next((p for word, p in _TORCH_PARTS.items() if word in event.key), "other operators")
        watch.seconds[part] += event.self_cpu_time_total / 1e6


@contextmanager
def numpy_parts(decoder: NumpyDecoder, watch: Stopwatch) -> Iterator[None]:
    """Time the methods of the NumPy engine."""
    for name, part in _NUMPY_PARTS.items():
        setattr(decoder, name, watch.wrap(part, getattr(decoder, name)))
    yield


def load(engine: str, folder: Path) -> Any:
    """The decoder, even where `auto` would take another."""
    if engine == "numpy":
        return NumpyDecoder.load(folder)
    from gpt_bigcode.backends.devices import set_threads
    from gpt_bigcode.backends.torch_decoder import TorchDecoder
    from gpt_bigcode.backends.torch_loading import load_computable

    set_threads()
    config = GPTBigCodeConfig.from_json_file(folder / "config.json")
    model: Any = load_computable(folder, config, device="cpu", precision=engine)
    return TorchDecoder(model)


def speller(folder: Path) -> Spell:
    """A token's bytes to the text that may be shown; a text that has ended is begun anew."""
    if not (folder / "tokenizer.json").exists():  # random weights write no text
        return lambda _: None
    tokenizer, text = CodeTokenizer.from_file(folder / "tokenizer.json"), TextStop(["\0"])

    def spell(token: int) -> str:
        nonlocal text
        if text.reason is not None:
            text = TextStop(["\0"])
        return text.feed(tokenizer.token_bytes(token))

    return spell


def measure(engine: str, folder: Path, count: int) -> tuple[float, dict[str, float]]:
    """Milliseconds of a step, and of its parts while they are watched."""
    decoder = load(engine, folder)
    spell = speller(folder)
    plain = min(seconds_of_steps(decoder, count, spell) for _ in range(3))
    watch = Stopwatch()
    around = numpy_parts(decoder, watch) if engine == "numpy" else torch_parts(watch)
    timed = watch.wrap("spelling", spell), watch.wrap("choosing", choose_token)
    whole = seconds_of_steps(decoder, count, *timed, around)
    parts = dict(watch.seconds)
    parts["Python and the rest"] = max(whole - sum(parts.values()), 0.0)
    scale = 1e3 / count
    return plain * scale, {part: seconds * scale for part, seconds in parts.items()}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=BUILT_IN)
    parser.add_argument("--engines", nargs="*", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--steps", type=int, default=48)
    options = parser.parse_args()
    parts = (*PARTS, "Python and the rest")
    print(f"{machine()}; {options.model.name}, {options.steps} steps, context {CONTEXT_TOKENS}\n")
    print("| ms a token | " + " | ".join(("step", *parts)) + " |")
    print("|---" * (len(parts) + 2) + "|")
    for engine in options.engines:
        plain, found = measure(engine, options.model, options.steps)
        cells = [f"{plain:.2f}", *(f"{found.get(part, 0.0):.2f}" for part in parts)]
        print(f"| {engine} | " + " | ".join(cells) + " |")
    print("\nThe parts were timed while they were watched, which takes time itself.")


if __name__ == "__main__":
    main()
