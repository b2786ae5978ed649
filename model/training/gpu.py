"""Trains the Python model for some minutes on a GPU elsewhere: pack, run there, unpack.

    python -m training.gpu pack PACKED                     # corpus, tokenizer, the trunk's weights
    python -m training.gpu run PACKED RESULT --minutes 9   # there: train, decay, export, measure
    python -m training.gpu unpack RESULT FOLDER            # two checkpoint folders: trunk, decayed

The archive has a size limit and the result comes in parts, because such a machine is often reached
through a narrow door. `run --device cpu --plans trunk decay` rehearses it on a processor.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from training.export import restore, write
from training.output import note
from training.paths import WORK
from training.trainer import read_checkpoint

MIB = 2**20
PART_BYTES = 15 * MIB
PART_NAME = "result.tar."
# Compression is not quite proportional to the text.
_SAFETY = 0.97
# Of the time, what the constant rate gets; the decay gets the rest.
_TRUNK_SHARE = 0.65
# What a first step (compiling) and the export take beyond the time that a run counts.
_FIRST_ALLOWANCE_SECONDS, _EXPORT_SECONDS = 60.0, 20.0
_LEAST_MINUTES = 0.01


def pack(run: str, target: Path, *, max_mib: int) -> dict[str, Any]:
    """Write one archive of at most `max_mib` with as much of the training split as fits.

    Raises:
        SystemExit: weights, tokenizer and validation split alone are larger.
    """
    checkpoint = WORK / "runs" / run / "checkpoint.pt"
    train = (WORK / "corpus" / "train.jsonl").read_bytes().splitlines(keepends=True)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        write(restore(checkpoint, averaged=False), WORK / "tokenizer.json", weights)
        (weights / "tokens.json").write_text(json.dumps(tokens_of(checkpoint)))
        count = len(train)
        while True:
            packed = _archive(weights, b"".join(train[:count]))
            if len(packed) <= max_mib * MIB:
                break
            note(f"{len(packed) / MIB:.1f} MiB with {count} files")
            count = int(count * _SAFETY * max_mib * MIB / len(packed))
            if not count:
                raise SystemExit(f"gpu: the weights alone do not fit into {max_mib} MiB")
    target.write_bytes(packed)
    return {"files": count, "files_left_out": len(train) - count, "bytes": len(packed)}


def tokens_of(checkpoint: Path) -> int:
    """The tokens that a checkpoint has seen."""
    return int(read_checkpoint(checkpoint)["tokens"])


def _archive(weights: Path, train: bytes) -> bytes:
    """A folder for `BIGCODE_TRAINING_HOME`, and the weights, as tar.xz."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        archive.add(weights, "weights")
        archive.add(WORK / "tokenizer.json", "tokenizer.json")
        archive.add(WORK / "corpus" / "validation.jsonl", "corpus/validation.jsonl")
        entry = tarfile.TarInfo("corpus/train.jsonl")
        entry.size = len(train)
        archive.addfile(entry, io.BytesIO(train))
    return buffer.getvalue()


def run(packed: Path, result: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train from the packed weights, decay, export both ends, write the parts and a report.

    The first run has a fixed share of the time. What it took beyond its own count (starting,
    compiling) is taken off the second, so that all ends within `minutes`.
    """
    started = time.monotonic()
    result.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with tarfile.open(packed) as archive:
            archive.extractall(home, filter="data")
        tokens = json.loads((home / "weights" / "tokens.json").read_text())
        begin = ("--weights", str(home / "weights"), "--weights-tokens", str(tokens))
        first = options.minutes * _TRUNK_SHARE - _FIRST_ALLOWANCE_SECONDS / 60
        first = max(_LEAST_MINUTES, first)
        before = time.monotonic()
        trunk = _train(home, options, first, "--plan", options.plans[0], "--run", "trunk", *begin)
        overhead = (time.monotonic() - before) / 60 - trunk["minutes"]
        left = options.minutes - (time.monotonic() - started + _EXPORT_SECONDS) / 60 - overhead
        left = max(_LEAST_MINUTES, left)
        go_on = ("--start-from", "trunk")
        decay = _train(home, options, left, "--plan", options.plans[1], "--run", "decayed", *go_on)
        for name, last in (("trunk", ["--last"]), ("decayed", [])):
            target = str(home / "result" / name)
            _call(home, "export", "--run", name, "--target", target, *last)
        _write_parts(home / "result", result)
    seconds = time.monotonic() - started
    report = {"seconds": round(seconds, 1), "trunk": trunk, "decayed": decay}
    (result / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    return report


def _train(
    home: Path, options: argparse.Namespace, minutes: float, *arguments: str
) -> dict[str, Any]:
    """One run of `training.train`; its report."""
    budget = ("--minutes", str(minutes), "--seed", str(options.seed), "--device", options.device)
    more = ["--workers", str(options.workers)] + ["--compiled"] * options.compiled
    _call(home, "train", *budget, *more, *arguments)
    name = arguments[arguments.index("--run") + 1]
    report: dict[str, Any] = json.loads((home / "runs" / name / "report.json").read_text())
    return report


def _call(home: Path, module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", f"training.{module}", *arguments]
    environment = os.environ | {"BIGCODE_TRAINING_HOME": str(home)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def _write_parts(folder: Path, result: Path) -> None:
    """A folder as a tar file in parts of at most PART_BYTES."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, ".")
    data, size = buffer.getvalue(), PART_BYTES
    for number, start in enumerate(range(0, len(data), size)):
        (result / f"{PART_NAME}{number:03}").write_bytes(data[start : start + size])


def unpack(result: Path, folder: Path) -> None:
    """The checkpoint folders of a run that came in parts."""
    parts = sorted(result.glob(f"{PART_NAME}*"))
    if not parts:
        raise SystemExit(f"gpu: {result} holds no {PART_NAME}* files")
    whole = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    with tarfile.open(fileobj=whole) as archive:
        archive.extractall(folder, filter="data")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("target", type=Path)
    packing.add_argument("--run", default="trunk")
    packing.add_argument("--max-mib", type=int, default=60)
    running = commands.add_parser("run")
    running.add_argument("packed", type=Path)
    running.add_argument("result", type=Path)
    running.add_argument("--minutes", type=float, required=True, help="for everything")
    running.add_argument("--device", default="cuda")
    running.add_argument("--plans", nargs=2, default=["gpu-trunk", "gpu-decay"])
    running.add_argument("--workers", type=int, default=0, help="processes that make batches")
    running.add_argument("--compiled", action="store_true")
    running.add_argument("--seed", type=int, default=41)
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("result", type=Path)
    unpacking.add_argument("folder", type=Path)
    return parser.parse_args(arguments)


def main() -> None:
    """Read the options, do it, print a report."""
    options = parse()
    if options.command == "unpack":
        unpack(options.result, options.folder)
        return
    if options.command == "pack":
        report = pack(options.run, options.target, max_mib=options.max_mib)
    else:
        report = run(options.packed, options.result, options)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
