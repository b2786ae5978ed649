"""Loading needs hardly more memory than the weights, measured in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from gpt_bigcode.checkpoint.tensor_index import Task, tensor_shapes
from gpt_bigcode.config import GPTBigCodeConfig
from reference_models import tiny_fields

SIZES = {"n_embd": 1024, "n_head": 16, "n_layer": 4, "n_inner": 4096, "vocab_size": 12000}
# A fork for each case, so that the imports are paid for once. The kernel counts the peak of
# resident memory; writing 5 resets it.
PROGRAM = """
import json, os, sys
from pathlib import Path
import torch
from gpt_bigcode.checkpoint.loading import load_model

def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))

def load(folder, dtype):
    model = load_model(folder, dtype=getattr(torch, dtype))
    assert all(value.sum().isfinite() for value in model.parameters())
    return model

def measure(folder, dtype):
    load(warm, dtype)  # a fork does not inherit resident pages of files
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    model = load(folder, dtype)
    peak = resident("VmHWM") - before
    weights = sum(value.numel() * value.element_size() for value in model.parameters())
    print(json.dumps([folder, dtype, peak, weights]), flush=True)

warm, *folders = sys.argv[1:]
torch.set_num_threads(1)
load(warm, "bfloat16")
for folder in folders:
    for dtype in ("float32", "bfloat16"):
        if child := os.fork():
            assert os.waitpid(child, 0)[1] == 0
        else:
            measure(folder, dtype)
            os._exit(0)
"""


def test_peak_of_memory(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "warm", {}, torch.float32)  # loads what is loaded once a process
    stored = ("float32", "bfloat16")
    for dtype in stored:
        write_checkpoint(tmp_path / dtype, SIZES, getattr(torch, dtype))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "warm", *(tmp_path / dtype for dtype in stored)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    for dtype in stored:
        (tmp_path / dtype / "model.safetensors").unlink()
    measured = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(measured) == 4
    for folder, dtype, peak, weights in measured:
        assert weights > (1e8 if dtype == "bfloat16" else 2e8)
        assert 0.95 * weights <= peak <= 1.15 * weights, (folder, dtype, peak, weights)


def write_checkpoint(folder: Path, sizes: dict[str, int], dtype: torch.dtype) -> None:
    folder.mkdir()
    fields = tiny_fields(**sizes)
    shapes = tensor_shapes(GPTBigCodeConfig.from_dict(fields), Task.CAUSAL_LM)
    tensors = {name: torch.full(shape, 0.5, dtype=dtype) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")
