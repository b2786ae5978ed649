"""Plain against speculative decoding, on real gaps and on texts that do not repeat themselves.

Both ways take turns on the same text, several times, so that
a busy machine slows both alike, and the texts are compared. A case is the median of its turns. With
--size the built-in model is made as large as a published one without changing what it computes: its
state is copied side by side, and layers that add nothing follow. So the size is real and the text
is no noise.

Run: python benchmarks/speculation.py [--kinds gaps,prose] [--cases 40] [--repeat 3]
     [--precision float32] [--size santacoder] [--draft]
"""

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import pocket_coder
from gpt_bigcode.backends.interfaces import StepDecoder
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.completion.options import CompletionOptions, InfillOptions
from gpt_bigcode.completion.text_model import TextModel
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.generation import loop, speculative
from gpt_bigcode.stopping.text_stop import Scope
from speculation_texts import KINDS, Gap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpt_bigcode.completion.options import Completion

BUILT_IN = Path(pocket_coder.__path__[0])
TOKENS, LEAST_TOKENS = 64, 16
# Copies of the state side by side, layers: 152 M and 911 M parameters.
SIZES = {"tiny_starcoder_py": (2, 20), "santacoder": (5, 24)}


def tiled(folder: Path, tiles: int, layers: int) -> None:
    """Write the built-in model, so many times as wide and with so many layers."""
    from safetensors.numpy import save_file

    decoder = NumpyDecoder.load(BUILT_IN)
    config, given = decoder.config, dict(decoder._weights)  # noqa: SLF001
    width = config.n_embd
    changed = {"n_embd": width * tiles, "n_layer": layers, "n_head": config.n_head * tiles}
    values = {**config.to_dict(), **changed, "n_inner": config.inner_dim * tiles}
    (folder / "config.json").write_text(json.dumps(values), "utf-8")
    (folder / "tokenizer.json").write_bytes((BUILT_IN / "tokenizer.json").read_bytes())
    tensors = {}
    for layer in range(layers):
        for name in [name for name in given if name.startswith("h.0.")]:
            source = given[name.replace("h.0.", f"h.{min(layer, config.n_layer - 1)}.")]
            value = _tile(name, source, width, tiles)
            nothing = layer >= config.n_layer and ".c_proj." in name
            tensors[name.replace("h.0.", f"h.{layer}.")] = value * 0 if nothing else value
    for name in ("wte.weight", "wpe.weight"):
        tensors[name] = np.tile(given[name], (1, tiles))
    for name in ("ln_f.weight", "ln_f.bias"):
        tensors[name] = np.tile(given[name], tiles) / np.float32(tiles)  # the tied head adds tiles
    named = {f"transformer.{name}": np.ascontiguousarray(v) for name, v in tensors.items()}
    save_file(named, folder / "model.safetensors", {"format": "pt"})


def _tile(name: str, value: Any, width: int, tiles: int) -> Any:
    """Outputs side by side, but one key and value; inputs are read from the first tile alone."""
    extra = value[width:] if "c_attn" in name else value[:0]
    out = value[:width] if "c_attn" in name else value
    whole = np.concatenate([np.concatenate([out] * tiles), extra])
    if value.ndim == 1:
        return whole
    wide = np.zeros((len(whole), value.shape[1] * tiles), np.float32)
    wide[:, : value.shape[1]] = whole
    return wide


@dataclass
class Case:
    """One text: the seconds of every turn, and what was guessed."""

    tokens: int = 0
    plain: list[float] = field(default_factory=list)
    fast: list[float] = field(default_factory=list)
    drafted: int = 0
    accepted: int = 0
    different: bool = False

    @property
    def ratio(self) -> float:
        """Plain by speculative time, of the medians."""
        return statistics.median(self.plain) / statistics.median(self.fast)

    @property
    def turns(self) -> list[float]:
        """The ratio of every turn."""
        return [plain / fast for plain, fast in zip(self.plain, self.fast, strict=True)]


def measure(model: TextModel, gap: Gap, arguments: argparse.Namespace, seed: int) -> Case:
    """Write behind or into one text in both ways, in turns."""
    case = Case()
    temperature = arguments.temperature
    for turn in range(arguments.repeat):
        done: dict[bool, Completion] = {}
        for speculate in (turn % 2 == 1, turn % 2 == 0):
            how: dict[str, Any] = {"max_tokens": TOKENS, "speculate": speculate, "seed": seed}
            how |= {"temperature": temperature, "until": Scope.FILE}
            before, behind = gap
            done[speculate] = (
                model.infill(before, behind, InfillOptions(**how))
                if behind
                else model.complete(before, CompletionOptions(**how))
            )
        plain, fast = done[False], done[True]
        case.plain.append(plain.timings.decode_seconds)
        case.fast.append(fast.timings.decode_seconds)
        case.tokens = plain.choices[0].completion_tokens
        case.drafted, case.accepted = fast.timings.drafted_tokens, fast.timings.accepted_tokens
        case.different |= plain.choices[0].text != fast.choices[0].text
        if case.tokens < LEAST_TOKENS:
            break  # two or three steps cannot be timed
    return case


def run(model: TextModel, arguments: argparse.Namespace) -> dict[str, list[Case]]:
    """The cases of every kind, one of each in turn, until there are enough or time is up."""
    draw = {kind: random.Random(arguments.seed) for kind in arguments.kinds}  # noqa: S311 - the same for everyone
    texts: dict[str, Iterator[Gap]] = {kind: KINDS[kind](draw[kind]) for kind in arguments.kinds}
    cases: dict[str, list[Case]] = {kind: [] for kind in texts}
    measure(model, ("def warm_up(", ""), arguments, 0)
    end = perf_counter() + arguments.seconds
    while any(len(found) < arguments.cases for found in cases.values()) and perf_counter() < end:
        for kind, found in cases.items():
            if len(found) < arguments.cases and perf_counter() < end:
                case = measure(model, next(texts[kind]), arguments, len(found))
                if case.tokens >= LEAST_TOKENS:
                    found.append(case)
    return cases


def row(name: str, cases: list[Case]) -> str:
    """One kind as a row of Markdown."""
    ratios = sorted(case.ratio for case in cases)
    low = ratios[len(ratios) // 20]
    worst = min(cases, key=lambda case: case.ratio)
    tokens = sum(case.tokens for case in cases)
    seconds = [sum(map(statistics.median, (c.plain for c in cases)))]
    seconds.append(sum(map(statistics.median, (c.fast for c in cases))))
    right = sum(case.accepted for case in cases) / max(sum(case.drafted for case in cases), 1)
    return (
        f"| {name} | {len(cases)} | {tokens / seconds[0]:.1f}/s | {tokens / seconds[1]:.1f}/s "
        f"| {seconds[0] / seconds[1]:.2f} | {ratios[0]:.3f} ({min(worst.turns):.3f} to "
        f"{max(worst.turns):.3f}) | {low:.3f} | {statistics.median(ratios):.2f} | {ratios[-1]:.2f} "
        f"| {right:.0%} | {sum(case.accepted for case in cases) / tokens:.0%} "
        f"| {sum(case.different for case in cases)} |"
    )


def open_model(folder: Path, arguments: argparse.Namespace) -> TextModel:
    """The model that is measured, with itself as its draft if that is asked for."""
    model = TextModel.load(folder, device="cpu", precision=arguments.precision)
    if arguments.torch and isinstance(model.decoder, NumpyDecoder):
        import torch

        from gpt_bigcode.backends.torch_decoder import TorchDecoder
        from gpt_bigcode.checkpoint.loading import load_model

        loaded = load_model(folder, dtype=torch.float32)
        model.decoder = TorchDecoder(loaded)  # type: ignore[arg-type]
    if arguments.draft:
        draft = TextModel.load(BUILT_IN).decoder
        model.draft = draft if isinstance(draft, StepDecoder) else None
    return model


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    kinds = ",".join(KINDS)
    parser.add_argument(
        "--kinds", type=lambda text: text.split(","), default=list(KINDS), help=kinds
    )
    parser.add_argument("--cases", type=int, default=40, help="of each kind")
    parser.add_argument("--repeat", type=int, default=3, help="turns of each case")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no case after that")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--torch", action="store_true", help="the built-in model in PyTorch")
    parser.add_argument("--draft", action="store_true", help="the built-in model guesses")
    parser.add_argument(
        "--processor-time", action="store_true", help="for one thread on a busy machine"
    )
    parser.add_argument("--size", choices=SIZES, help="as large as this model")
    parser.add_argument("--folder", type=Path, help="keep the large model here for the next run")
    return parser.parse_args()


def _place(arguments: argparse.Namespace, temporary: str) -> Path:
    """Where the model is; a large one is written if it is not there."""
    if arguments.size is None:
        return BUILT_IN
    folder: Path = arguments.folder or Path(temporary)
    if not (folder / "model.safetensors").exists():
        folder.mkdir(parents=True, exist_ok=True)
        tiled(folder, *SIZES[arguments.size])
    return folder


def main() -> None:
    """Measure and print a table of Markdown."""
    arguments = _arguments()
    if arguments.processor_time:  # for the decisions as well as for the figures
        for module in (speculative, loop):
            vars(module)["perf_counter"] = process_time
    with tempfile.TemporaryDirectory() as temporary:
        place = _place(arguments, temporary)
        parameters = GPTBigCodeConfig.from_json_file(place / "config.json").parameter_count()
        model = open_model(place, arguments)
        cases = run(model, arguments)
    engine = type(model.decoder).__name__.removesuffix("Decoder")
    clock = "processor time" if arguments.processor_time else "wall-clock time"
    print(
        f"Python {platform.python_version()}, NumPy {np.__version__}, torch {version('torch')}, "
        f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}\n\n"
        f"{parameters / 1e6:,.0f} M parameters, {engine} {arguments.precision}, "
        f"{'a draft model' if arguments.draft else 'copies'}, temperature {arguments.temperature}, "
        f"{arguments.repeat} turns, {clock}\n"
    )
    print(
        "| texts | cases | plain | speculative | ratio together | worst (its turns) | 5 % | median "
        "| best | guesses right | of all tokens | other texts |"
    )
    print("|---" * 12 + "|")
    found = {kind: of_kind for kind, of_kind in cases.items() if of_kind}
    for kind, of_kind in found.items():
        print(row(kind, of_kind))
    if len(found) > 1:
        print(row("all", [case for of_kind in found.values() for case in of_kind]))


if __name__ == "__main__":
    main()
