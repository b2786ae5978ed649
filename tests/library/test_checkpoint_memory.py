"""Loading needs hardly more memory than the weights, measured in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gpt_bigcode.checkpoint.tensor_index import Task, tensor_shapes
from gpt_bigcode.config import GPTBigCodeConfig
from reference_models import tiny_fields

SIZES = {"n_embd": 1024, "n_head": 16, "n_layer": 4, "n_inner": 4096, "vocab_size": 12000}
# The kernel counts the peak of resident memory; writing 5 starts the count anew.
PROGRAM = """
import json, sys
from pathlib import Path
import torch
from gpt_bigcode.checkpoint.loading import load_model

def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))

load_model(sys.argv[2])
dtype = getattr(torch, sys.argv[3])
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
model = load_model(sys.argv[1], dtype=dtype)
checksum = sum(value.sum().item() for value in model.parameters())
peak = resident("VmHWM") - before
weights = sum(value.numel() * value.element_size() for value in model.parameters())
print(json.dumps({"peak": peak, "weights": weights, "checksum": checksum}))
"""


@pytest.mark.parametrize(
    ("stored", "loaded"),
    [
        ("float32", "float32"),
        ("bfloat16", "bfloat16"),
        ("float32", "bfloat16"),
        ("bfloat16", "float32"),
    ],
)
def test_peak_of_memory(stored: str, loaded: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "large", SIZES, getattr(torch, stored))
    write_checkpoint(tmp_path / "warm", {}, torch.float32)  # loads what is loaded once a process
    folders = [str(tmp_path / name) for name in ("large", "warm")]
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *folders, loaded],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    (tmp_path / "large" / "model.safetensors").unlink()
    measured = json.loads(result.stdout)
    weights, peak = measured["weights"], measured["peak"]
    assert weights > (1e8 if loaded == "bfloat16" else 2e8)
    assert 0.95 * weights <= peak <= 1.15 * weights


def write_checkpoint(folder: Path, sizes: dict[str, int], dtype: torch.dtype) -> None:
    folder.mkdir()
    fields = tiny_fields(**sizes)
    shapes = tensor_shapes(GPTBigCodeConfig.from_dict(fields), Task.CAUSAL_LM)
    tensors = {name: torch.full(shape, 0.5, dtype=dtype) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")
