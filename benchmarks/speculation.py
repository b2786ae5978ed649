"""Plain against speculative decoding, on gaps in real files: random lines of installed packages.

Knows nothing of how guesses are made. Both ways take turns on the same gap, so that a busy machine
slows both alike, and the texts are compared. With --tiles the built-in model is made as large as
SantaCoder without changing what it computes: its state is copied side by side, and layers that add
nothing follow. So the size is real and the text is no noise.

Run: python benchmarks/speculation.py [--cases 40] [--precision float32] [--draft] [--tiles]
"""

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import pocket_coder
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.generation import StepDecoder
from gpt_bigcode.pipeline import InfillOptions, TextModel
from gpt_bigcode.reference import NumpyDecoder

if TYPE_CHECKING:
    from gpt_bigcode.outcomes import Completion

BUILT_IN = Path(pocket_coder.__path__[0])
PACKAGES = ("rich", "huggingface_hub", "typer", "jinja2", "filelock", "platformdirs")
TOKENS = 64
TILES, LAYERS = 5, 24  # 1920 wide, 24 layers: 1.07 B parameters
_LINES_AROUND = 40


def gaps(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """The text before and behind a random line of a random file."""
    draw = random.Random(seed)  # noqa: S311 - the same gaps for everyone
    site = Path(np.__file__).parent.parent
    files = sorted(path for name in PACKAGES for path in (site / name).glob("*.py"))
    while count:
        lines = draw.choice(files).read_text("utf-8").splitlines(keepends=True)
        at = draw.randrange(len(lines)) if lines else 0
        if len(lines) > _LINES_AROUND and lines[at].strip():
            before = lines[max(0, at - _LINES_AROUND) : at]
            yield "".join(before), "".join(lines[at + 1 : at + 1 + _LINES_AROUND])
            count -= 1


def tiled(folder: Path) -> None:
    """Write the built-in model, as large as SantaCoder."""
    from safetensors.numpy import save_file

    decoder = NumpyDecoder.load(BUILT_IN)
    config, given = decoder.config, dict(decoder._weights)  # noqa: SLF001
    width = config.n_embd
    changed = {"n_embd": width * TILES, "n_layer": LAYERS, "n_head": config.n_head * TILES}
    values = {**config.to_dict(), **changed, "n_inner": config.inner_dim * TILES}
    (folder / "config.json").write_text(json.dumps(values), "utf-8")
    (folder / "tokenizer.json").write_bytes((BUILT_IN / "tokenizer.json").read_bytes())
    tensors = {}
    for layer in range(LAYERS):
        for name in [name for name in given if name.startswith("h.0.")]:
            source = given[name.replace("h.0.", f"h.{min(layer, config.n_layer - 1)}.")]
            value = _tile(name, source, width)
            nothing = layer >= config.n_layer and ".c_proj." in name
            tensors[name.replace("h.0.", f"h.{layer}.")] = value * 0 if nothing else value
    for name in ("wte.weight", "wpe.weight"):
        tensors[name] = np.tile(given[name], (1, TILES))
    for name in ("ln_f.weight", "ln_f.bias"):
        tensors[name] = np.tile(given[name], TILES) / np.float32(TILES)  # the tied head adds tiles
    named = {f"transformer.{name}": np.ascontiguousarray(v) for name, v in tensors.items()}
    save_file(named, folder / "model.safetensors", {"format": "pt"})


def _tile(name: str, value: Any, width: int) -> Any:
    """Outputs side by side, but one key and value; inputs are read from the first tile alone."""
    extra = value[width:] if "c_attn" in name else value[:0]
    out = value[:width] if "c_attn" in name else value
    whole = np.concatenate([np.concatenate([out] * TILES), extra])
    if value.ndim == 1:
        return whole
    wide = np.zeros((len(whole), value.shape[1] * TILES), np.float32)
    wide[:, : value.shape[1]] = whole
    return wide


def run(model: TextModel, cases: int, seed: int) -> dict[str, Any]:
    """Fill every gap in both ways, in turns."""
    ratios, drafted, accepted, tokens, different = [], 0, 0, 0, 0
    seconds = {False: 0.0, True: 0.0}
    for number, (before, behind) in enumerate(gaps(cases + 1, seed)):
        done: dict[bool, Completion] = {}
        for speculate in (number % 2 == 0, number % 2 == 1):
            options = InfillOptions(max_tokens=TOKENS, speculate=speculate)
            done[speculate] = model.infill(before, behind, options)
        if not number:
            continue  # warms up
        plain, fast = done[False].timings, done[True].timings
        different += done[False].choices[0].text != done[True].choices[0].text
        drafted, accepted = drafted + fast.drafted_tokens, accepted + fast.accepted_tokens
        tokens += done[True].choices[0].completion_tokens
        seconds[False] += plain.decode_seconds
        seconds[True] += fast.decode_seconds
        ratios.append(plain.decode_seconds / max(fast.decode_seconds, 1e-9))
    return {
        "cases": cases,
        "plain": tokens / seconds[False],
        "speculative": tokens / seconds[True],
        "together": seconds[False] / seconds[True],
        "ratios": ratios,
        "accepted": accepted / max(drafted, 1),
        "share": accepted / max(tokens, 1),
        "different": different,
    }


def open_model(folder: Path, arguments: argparse.Namespace) -> TextModel:
    """The model that is measured, with itself as its draft if that is asked for."""
    model = TextModel.load(folder, device="cpu", precision=arguments.precision)
    if arguments.torch and isinstance(model.decoder, NumpyDecoder):
        from gpt_bigcode.checkpoint import load_model
        from gpt_bigcode.decoder import TorchDecoder

        model.decoder = TorchDecoder(load_model(folder))  # type: ignore[arg-type]
    if arguments.draft:
        draft = TextModel.load(BUILT_IN).decoder
        model.draft = draft if isinstance(draft, StepDecoder) else None
    return model


def main() -> None:
    """Measure and print a row of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--torch", action="store_true", help="the built-in model in PyTorch")
    parser.add_argument("--draft", action="store_true", help="the built-in model guesses")
    parser.add_argument("--tiles", action="store_true", help="as large as SantaCoder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.tiles:
            tiled(Path(folder))
        place = Path(folder) if arguments.tiles else BUILT_IN
        parameters = GPTBigCodeConfig.from_json_file(place / "config.json").parameter_count()
        model = open_model(place, arguments)
        result = run(model, arguments.cases, arguments.seed)
    engine = type(model.decoder).__name__.removesuffix("Decoder")
    low, middle, high = statistics.quantiles(result["ratios"], n=4)
    print(
        f"Python {platform.python_version()}, NumPy {np.__version__}, torch {version('torch')}, "
        f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}\n"
    )
    print(
        "| model | engine | guesses | cases | plain | speculative | ratio together |"
        " median (quartiles) | guesses right | of all tokens | other texts |"
    )
    print("|---" * 11 + "|")
    print(
        f"| {parameters / 1e6:,.0f} M{', tiled' * arguments.tiles} "
        f"| {engine} {arguments.precision} | {'draft' if arguments.draft else 'copies'} "
        f"| {result['cases']} | {result['plain']:.1f}/s | {result['speculative']:.1f}/s "
        f"| {result['together']:.2f} | {middle:.2f} ({low:.2f} to {high:.2f}) "
        f"| {result['accepted']:.0%} | {result['share']:.0%} | {result['different']} |"
    )


if __name__ == "__main__":
    main()
