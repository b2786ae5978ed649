"""Loading quantized weights needs hardly more memory than they keep, measured in a process."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from gpt_bigcode.checkpoint.tensor_index import Task, tensor_shapes
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.quantization.linear import Int8Forms
from reference_models import tiny_fields

# The kernel counts the peak of resident memory; writing 5 starts the count anew.
PROGRAM = """
import json, sys
from pathlib import Path
import torch
from gpt_bigcode.hardware import LoadingPolicy, Precision
from gpt_bigcode.quantization.loading import load_quantized
from gpt_bigcode.modeling.transformer import GPTBigCodeModel

def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))

large, warm, cache = (Path(word) for word in sys.argv[1:])
torch.set_num_threads(1)
report = {}
for precision, folder in (("int8", None), ("int8", cache), ("int8", cache), ("int4", cache)):
    policy = LoadingPolicy(cache_folder=folder)
    model = load_quantized(warm, Precision(precision), policy=policy)
    model(torch.tensor([[1, 2, 3]]))
    del model
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    model = load_quantized(large, Precision(precision), policy=policy)
    model(torch.tensor([[1, 2, 3]]))
    name = f"{precision} {folder is not None} {len(report)}"
    report[name] = (resident("VmHWM") - before, resident("VmRSS") - before)
    del model
print(json.dumps(report))
"""
# Large enough that what PyTorch takes once for all does not count.
WIDTH, INNER, LAYERS, VOCABULARY = 1024, 4096, 10, 4096
SHAPES = ((WIDTH + 128, WIDTH), (WIDTH, WIDTH), (INNER, WIDTH), (WIDTH, INNER))
MATRICES = LAYERS * sum(outputs * inputs for outputs, inputs in SHAPES)


def write_checkpoint(folder: Path, **sizes: int) -> Path:
    folder.mkdir()
    fields = tiny_fields(**sizes)
    shapes = tensor_shapes(GPTBigCodeConfig.from_dict(fields), Task.CAUSAL_LM)
    tensors = {name: torch.full(shape, 0.5, dtype=torch.bfloat16) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    return folder


def second_forms() -> int:
    """Bytes of the matrices that both kernels use; of a kept file only what is used is read."""
    forms = {shape: Int8Forms.of(*shape) for shape in SHAPES}
    both = [shape for shape, form in forms.items() if form.fbgemm and form.onednn]
    return LAYERS * sum(outputs * inputs for outputs, inputs in both)


def test_peak_of_memory(tmp_path: Path) -> None:
    sizes = {"n_embd": WIDTH, "n_head": 16, "n_layer": LAYERS, "n_inner": INNER}
    large = write_checkpoint(tmp_path / "large", vocab_size=VOCABULARY, **sizes)
    warm = write_checkpoint(tmp_path / "warm")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, large, warm, tmp_path / "cache"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    (large / "model.safetensors").unlink()
    measured = json.loads(done.stdout)
    head = VOCABULARY * WIDTH
    int8, int4 = MATRICES + head, MATRICES * 4.5 / 8 + head
    for name, (peak, kept) in measured.items():
        weights = int8 if name.startswith("int8") else int4
        if name.startswith("int8 False"):
            weights += second_forms()
        assert peak <= 1.15 * max(kept, weights), (measured, weights)
        assert kept <= 1.15 * weights, (measured, weights)
