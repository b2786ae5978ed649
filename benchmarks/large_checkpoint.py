"""How much memory a checkpoint of two gigabytes needs: pulled, checked, loaded, converted, removed.

    python benchmarks/large_checkpoint.py [--gigabytes 2] [--folder /where/there/is/space]

Makes random weights, serves them by the tests' hub on the loopback interface, runs the real program
in an empty home, and prints for each command its time and its peak of resident memory, also as a
share of the weights. Pages of a mapped file count as resident while they are used.
"""

import argparse
import json
import mmap
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "cli"))

from fake_hub import FakeHub, Repository, folder_files  # noqa: E402  # found only now
from gpt_bigcode.checkpoint.tensor_index import Task, tensor_shapes  # noqa: E402  # found only now
from gpt_bigcode.config import GPTBigCodeConfig  # noqa: E402  # found only now
from scripted_models import write_checkpoint  # noqa: E402  # found only now

BIGCODE = str(Path(sys.executable).with_name("bigcode"))
NAME, PICKLED = "acme/large", "acme/pickled"
WIDTH, HEADS, SHARDS = 2048, 16, 2
BLOCK = 4 << 20
# A process starts with the peak of the one that it was forked from: this one is small.
LAUNCHER = """
import json, os, sys, time
start = time.perf_counter()
nowhere = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1)]
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=nowhere)
_, status, used = os.wait4(pid, 0)
busy, peak = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024
print(json.dumps([os.waitstatus_to_exitcode(status), time.perf_counter() - start, busy, peak]))
"""


def make_checkpoint(folder: Path, gigabytes: float) -> int:
    """Write a checkpoint of about that size in float32, in two files; return its bytes."""
    write_checkpoint(folder, script=[])
    (folder / "model.safetensors").unlink()
    fields = json.loads((folder / "config.json").read_text("utf-8"))
    per_layer = 4 * 10 * WIDTH * WIDTH
    layers = max(1, round(gigabytes * 1e9 / per_layer))
    fields |= {"n_embd": WIDTH, "n_head": HEADS, "n_layer": layers, "n_inner": 4 * WIDTH}
    (folder / "config.json").write_text(json.dumps(fields), "utf-8")
    shapes = sorted(tensor_shapes(GPTBigCodeConfig.from_dict(fields), Task.CAUSAL_LM).items())
    noise = np.random.default_rng(1).standard_normal(BLOCK).astype(np.float32) * 0.02
    place: dict[str, str] = {}
    total = 0
    for number in range(SHARDS):
        name = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        part = dict(shapes[number * len(shapes) // SHARDS : (number + 1) * len(shapes) // SHARDS])
        total += write_weights(folder / name, part, noise.tobytes())
        place |= dict.fromkeys(part, name)
    index = json.dumps({"weight_map": place})
    (folder / "model.safetensors.index.json").write_text(index, "utf-8")
    return total


def write_weights(path: Path, shapes: Mapping[str, tuple[int, ...]], noise: bytes) -> int:
    """Write one file piece by piece, so that making it needs no memory either."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(raw)) + raw)
        for start in range(0, end, len(noise)):
            stream.write(noise[: end - start])
    return end


def make_pickle(folder: Path, target: Path) -> None:
    """Write the same weights as one pickle, in a process of its own."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors*"))
    script = (
        "import sys, torch; from pathlib import Path; from safetensors.torch import load_file\n"
        "files = sorted(Path(sys.argv[1]).glob('*.safetensors'))\n"
        "tensors = {k: v for f in files for k, v in load_file(f).items()}\n"
        "torch.save(tensors, sys.argv[2])\n"
    )
    command = [sys.executable, "-c", script, str(folder), str(target / "pytorch_model.bin")]
    subprocess.run(command, check=True)


def repository(folder: Path) -> Repository:
    """A repository whose large files stay on the disk."""
    large = [path for path in folder.iterdir() if path.stat().st_size > BLOCK]
    small = tempfile.mkdtemp(dir=folder.parent)
    for path in folder.iterdir():
        if path not in large:
            shutil.copy(path, small)
    files: dict[str, Any] = dict(folder_files(Path(small)))
    for path in large:
        with path.open("rb") as stream:
            files[path.name] = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    return Repository(files)


def measure(weights: int, environment: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """Run one command and print what it took."""
    command = [sys.executable, "-I", "-S", "-c", LAUNCHER, BIGCODE, *arguments]
    done = subprocess.run(command, env=dict(environment), check=True, capture_output=True)
    status, seconds, busy, peak = json.loads(done.stdout)
    result = {
        "command": " ".join(arguments),
        "status": status,
        "seconds": round(seconds, 1),
        "busy_seconds": round(busy, 1),
        "peak_bytes": peak,
        "peak_share_of_weights": round(peak / weights, 3),
    }
    print(json.dumps(result), flush=True)
    return result


def main() -> int:
    """Make, serve, measure and clean up; the status is 1 if a command failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, default=None, help="where to work")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name, FakeHub() as hub:
        top = Path(name)
        weights = make_checkpoint(top / "plain", options.gigabytes)
        make_pickle(top / "plain", top / "pickle")
        hub.repositories[NAME] = repository(top / "plain")
        hub.repositories[PICKLED] = repository(top / "pickle")
        print(json.dumps({"weights_bytes": weights}), flush=True)
        environment = {"HOME": str(top), "PATH": os.environ["PATH"], "HF_ENDPOINT": hub.url}
        environment["HF_HUB_DOWNLOAD_TIMEOUT"] = "120"  # the hub hashes what it lists
        steps = (
            ("models", "pull", NAME),
            ("models", "show", NAME),
            ("models", "verify", NAME),
            ("complete", "-m", NAME, "--max-tokens", "2", "--precision", "float32"),
            ("models", "remove", "--yes", NAME),
            ("models", "pull", "--convert", PICKLED),
            ("models", "remove", "--yes", PICKLED),
        )
        results = [measure(weights, environment, *step) for step in steps]
    return int(any(result["status"] for result in results))


if __name__ == "__main__":
    raise SystemExit(main())
