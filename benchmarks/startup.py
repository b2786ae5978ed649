"""Time to start: the help, an import of PyTorch, and a completion of 64 tokens, side by side.

Wall-clock times of whole processes, in turns, so that other load slows all of them alike. The
prompt is the beginning of a file of this project. Run: python benchmarks/startup.py --runs 9
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from contest import machine

REPOSITORY = Path(__file__).resolve().parent.parent
PROMPT_FILE = REPOSITORY / "model/gpt_bigcode/generation/sampling.py"
TOKENIZER = REPOSITORY / "model/pocket_coder/tokenizer.json"
TOKENS = 64


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--prompt-tokens", type=int, default=300)
    parser.add_argument("--model", help="instead of the built-in one")
    return parser.parse_args()


def prompt_of(tokens: int) -> bytes:
    """So many of the built-in model's tokens of a real file."""
    from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

    tokenizer = CodeTokenizer.from_file(TOKENIZER)
    return tokenizer.decode_bytes(
        tokenizer.encode(PROMPT_FILE.read_text(encoding="utf-8"))[:tokens]
    )


def _commands(model: list[str]) -> dict[str, list[str]]:
    program = str(Path(sys.executable).with_name("bigcode"))
    limit = f"--max-tokens={TOKENS}"
    complete = [program, "complete", "--quiet", "--no-prefix-cache", limit, *model]
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
        "bigcode --help": [program, "--help"],
        "bigcode complete --help": [program, "complete", "--help"],
        "bigcode models list": [program, "models", "list"],
        f"bigcode complete, {TOKENS} tokens": complete,
        "the same, second call on the file": [c for c in complete if c != "--no-prefix-cache"],
        "the same through PyTorch (int8)": [*complete, "--precision=int8"],
    }


def _seconds(command: list[str], prompt: bytes) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, input=prompt, capture_output=True, check=False)
    elapsed = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr.decode()}")
    return elapsed


def main() -> None:
    """Measure and print a table."""
    options = parse()
    prompt = prompt_of(options.prompt_tokens)
    commands = _commands([f"--model={options.model}"] if options.model else [])
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(-1, options.runs):  # the first turn only warms the page cache
        for name, command in commands.items():
            elapsed = _seconds(command, prompt)
            if turn >= 0:
                times[name].append(elapsed)
    print(f"{machine()}; {options.runs} alternating runs\n")
    reference = statistics.median(times["python -c 'import torch'"])
    print(f"{'':34} {'median':>9} {'fastest':>9} {'slowest':>9} {'/ torch':>9} {'- torch':>9}")
    for name, values in times.items():
        median = statistics.median(values)
        row = (median, min(values), max(values))
        cells = "".join(f" {value:7.3f} s" for value in row)
        print(f"{name:34}{cells} {median / reference:9.2f} {median - reference:+7.3f} s")


if __name__ == "__main__":
    main()
