"""Peak of memory and rates of one checkpoint in one precision, in a process of its own.

Run: python benchmarks/memory.py FOLDER [PRECISION] [CACHE]
"""

import argparse
import json
import resource
import time
from pathlib import Path

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.hardware import LoadingPolicy
from gpt_bigcode.loading import open_decoder

NEW_TOKENS = 8


def _resident(field: str) -> int:
    """A field of /proc/self/status in bytes: VmRSS, RssAnon, RssFile."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def main() -> None:
    """Load, read a prompt, write a few tokens, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("precision", nargs="?", default="auto")
    parser.add_argument("cache", type=Path, nargs="?")
    parser.add_argument("--prompt-tokens", type=int, default=64)
    arguments = parser.parse_args()
    base = _resident("VmRSS")
    said: list[str] = []
    policy = LoadingPolicy(cache_folder=arguments.cache, detail=said.append, note=said.append)
    config = GPTBigCodeConfig.from_json_file(arguments.folder / "config.json")
    started, processor_started = time.perf_counter(), time.process_time()
    decoder = open_decoder(
        arguments.folder, config, device="cpu", precision=arguments.precision, policy=policy
    )
    loaded, processor_loaded = time.perf_counter(), time.process_time()
    peak_loading = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    token = int(decoder.prefill([list(range(100, 100 + arguments.prompt_tokens))])[0].argmax())
    read = time.perf_counter()
    tokens = []
    for _ in range(NEW_TOKENS):
        tokens.append(token)
        token = int(decoder.decode([token])[0].argmax())
    written = time.perf_counter()
    report = {
        "folder": arguments.folder.name,
        "parameters": config.parameter_count(),
        "precision": arguments.precision,
        "said": said,
        "base_bytes": base,
        "load_seconds": round(loaded - started, 2),
        "load_processor_seconds": round(processor_loaded - processor_started, 2),
        "peak_loading_bytes": peak_loading,
        "resident_bytes": _resident("VmRSS"),
        "of_it_mapped_bytes": _resident("RssFile"),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "prefill_tokens_per_second": round(arguments.prompt_tokens / (read - loaded), 2),
        "decode_tokens_per_second": round(NEW_TOKENS / (written - read), 2),
        "tokens": tokens,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
