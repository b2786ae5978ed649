"""Layers of 8 and 4 bits against the float product, and their laws."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_bigcode.errors import NonFiniteError
from gpt_bigcode.quantization import int8_kernel
from gpt_bigcode.quantization import linear as quantization
from gpt_bigcode.quantization.linear import (
    GROUP,
    Int4Linear,
    Int8Linear,
    StoredEmbedding,
    fits_int4,
    quantize_int4,
    quantize_int8,
)

OUTPUTS, INPUTS = 192, 128


@pytest.fixture
def layer() -> torch.nn.Linear:
    torch.manual_seed(4)
    return torch.nn.Linear(INPUTS, OUTPUTS)


def inputs(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(*shape, INPUTS, generator=generator) + 0.3


def int8_of(layer: torch.nn.Linear, **how: Any) -> Int8Linear:
    return Int8Linear(*quantize_int8(layer.weight.data), bias=layer.bias.data, **how)


def int4_of(layer: torch.nn.Linear, *, matrix_units: bool = False) -> Int4Linear:
    values = quantize_int4(layer.weight.data)
    return Int4Linear(*values, bias=layer.bias.data, matrix_units=matrix_units)


def relative_error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.fixture(params=["fbgemm", "onednn"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which operators int8 layers use."""
    use(request.param, monkeypatch)
    return str(request.param)


def use(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "has_fbgemm", lambda: kernel == "fbgemm")
    monkeypatch.setattr(quantization, "has_onednn", lambda: kernel != "fbgemm")


@torch.inference_mode()
def test_int8_is_near_the_float_product(layer: torch.nn.Linear, kernel: str) -> None:
    hidden = inputs(2, 5)
    found = int8_of(layer)(hidden)
    assert found.shape == (2, 5, OUTPUTS)
    assert found.dtype == torch.float32
    assert relative_error(found, layer(hidden)) < 0.02


@torch.inference_mode()
def test_int8_is_the_product_of_the_rounded_numbers(
    layer: torch.nn.Linear, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounded, scale, sums = quantize_int8(layer.weight.data)
    assert int(rounded.abs().amax()) == 127
    assert torch.allclose(sums, (rounded.double().sum(1) * scale).float())
    weight = rounded.double() * scale.double().unsqueeze(1)
    row = inputs(1)
    step = (row.amax() - row.amin()) / 127
    zero = -(row.amin() / step).round()
    numbers = (row / step + zero).round() - zero
    wanted = (numbers.double() * step) @ weight.T + layer.bias.data
    use("fbgemm", monkeypatch)
    assert torch.allclose(int8_of(layer)(row).double(), wanted, atol=1e-4)
    step = row.abs().amax() / (int8_kernel._zero() - 1)
    wanted = ((row / step).round().double() * step) @ weight.T + layer.bias.data
    use("onednn", monkeypatch)
    assert torch.allclose(int8_of(layer)(row).double(), wanted, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("count", [1, 7, 60, 200])
def test_a_row_computes_the_same_in_any_batch(
    layer: torch.nn.Linear, kernel: str, count: int
) -> None:
    hidden = inputs(200)
    hidden[0] *= 1000  # one token's outliers must not cost the others their precision
    hidden[2], hidden[3], hidden[5] = 0, 1.5, 1e-4 * hidden[5].abs()
    quantized = int8_of(layer)
    some = quantized(hidden[:count])
    assert torch.equal(some, quantized(hidden)[:count])
    alone = torch.cat([quantized(row.unsqueeze(0)) for row in hidden[:count]])
    assert torch.equal(some, alone)
    assert relative_error(quantized(hidden)[1:], layer(hidden)[1:]) < 0.02
    small, product = quantized(hidden[5:6]), layer(hidden[5:6])  # of 1e-4: as many bits as others
    assert relative_error(small - layer.bias.data, product - layer.bias.data) < 0.02


@torch.inference_mode()
def test_many_rows_may_use_matrix_units(
    layer: torch.nn.Linear, monkeypatch: pytest.MonkeyPatch
) -> None:
    use("onednn", monkeypatch)  # FBGEMM, which is used where there is no VNNI, has none
    hidden = inputs(200)
    units, without = (int8_of(layer, matrix_units=wanted) for wanted in (True, False))
    assert relative_error(units(hidden).float(), layer(hidden)) < 0.02
    assert torch.equal(units(hidden[:8]), without(hidden[:8]))
    assert without(hidden).dtype == torch.float32
    narrow = units(hidden.bfloat16())
    assert narrow.dtype == torch.bfloat16
    assert relative_error(narrow.float(), layer(hidden)) < 0.02


@torch.inference_mode()
def test_int4_is_near_the_float_product(layer: torch.nn.Linear) -> None:
    hidden = inputs(3)
    assert relative_error(int4_of(layer)(hidden), layer(hidden)) < 0.15


@torch.inference_mode()
@pytest.mark.parametrize("matrix_units", [False, True])
def test_unpacked_int4_is_the_packed_product(layer: torch.nn.Linear, matrix_units: bool) -> None:  # noqa: FBT001
    assert quantization._block_rows() in (32, 64)
    hidden = inputs(200)
    quantized = int4_of(layer, matrix_units=matrix_units)
    alone = torch.cat([quantized(hidden[place : place + 8]) for place in range(0, 200, 8)])
    together = quantized(hidden)
    assert together.dtype == (torch.bfloat16 if matrix_units else torch.float32)
    assert torch.allclose(together.float(), alone, atol=0.03)
    assert relative_error(together.float(), alone) < 0.005


@torch.inference_mode()
def test_a_packing_that_is_not_known_is_never_unpacked(
    layer: torch.nn.Linear, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantized, hidden = int4_of(layer), inputs(200)
    known = quantized(hidden)
    monkeypatch.setattr(quantization, "_block_rows", lambda: 0)
    assert torch.allclose(quantized(hidden), known, atol=0.03)


@torch.inference_mode()
@pytest.mark.usefixtures("kernel")
def test_rows_without_a_spread_are_exact_enough(layer: torch.nn.Linear) -> None:
    for value in (0.0, 3.0, -1e-20):
        hidden = torch.full((1, INPUTS), value)
        assert torch.allclose(int8_of(layer)(hidden), layer(hidden), atol=0.1)
    empty = Int8Linear(*quantize_int8(torch.zeros(OUTPUTS, INPUTS)))
    assert not empty(inputs(1)).any()


@torch.inference_mode()
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.usefixtures("kernel")
def test_what_is_not_finite_is_not_hidden(layer: torch.nn.Linear, bad: float) -> None:
    hidden = inputs(2)
    hidden[0, 3] = bad
    found = int8_of(layer)(hidden)
    assert not found[0].isfinite().any()
    assert found[1].isfinite().all()
    assert not int8_of(layer)(hidden[:1]).isfinite().any()
    weight = layer.weight.data.clone()
    weight[5, 5] = bad
    for quantize in (quantize_int8, quantize_int4):
        with pytest.raises(NonFiniteError):
            quantize(weight)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((64, 64), True), ((96, 64), False), ((64, 96), False), ((50257, 64), False)],
)
def test_shapes_for_int4(shape: tuple[int, int], fits: bool) -> None:  # noqa: FBT001
    assert fits_int4(*shape) == fits


@pytest.fixture
def asked_again() -> Iterator[None]:
    """Questions about operators are answered once in a process; not in this test."""
    questions = (int8_kernel.has_fbgemm, int8_kernel.has_onednn)
    for question in questions:
        question.cache_clear()
    yield
    for question in questions:
        question.cache_clear()


@pytest.mark.usefixtures("asked_again")
def test_operators_that_are_missing_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise RuntimeError("no such operator")

    assert quantization.has_int4()
    monkeypatch.setattr(quantization, "_pack_int4", missing)
    assert not quantization.has_int4()
    monkeypatch.setattr(torch, "_make_per_channel_quantized_tensor", missing)
    assert not int8_kernel.has_fbgemm()
    assert int8_kernel.has_int8()
    int8_kernel.has_onednn.cache_clear()
    monkeypatch.setattr(int8_kernel, "OneDnnInt8", missing)
    assert not int8_kernel.has_int8()


WITHOUT_VNNI = """
import torch
from gpt_bigcode.quantization import int8_kernel, linear
linear.has_fbgemm = lambda: False
assert not int8_kernel.full_range() and int8_kernel.has_onednn()
torch.manual_seed(1)
plain = torch.nn.Linear(256, 512)
values = linear.quantize_int8(plain.weight.data)
layer = linear.Int8Linear(*values, bias=plain.bias.data)
rows = torch.randn(6, 256)
with torch.inference_mode():
    alone = torch.cat([layer(row.unsqueeze(0)) for row in rows])
    assert torch.equal(layer(rows), alone)
    assert (alone - plain(rows)).norm() / alone.norm() < 0.04
"""


def test_onednn_without_vnni_uses_fewer_bits() -> None:
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, "-W", "error", "-c", WITHOUT_VNNI]
    subprocess.run(command, check=True, env=environment)


WITHOUT_FAST_CALLS = """
import sys, torch
from pathlib import Path
del torch._C.DisableTorchFunctionSubclass
from gpt_bigcode.backends.torch_decoder import TorchDecoder
from gpt_bigcode.backends.torch_loading import load_computable
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.hardware import LoadingPolicy
folder = Path(sys.argv[1])
config = GPTBigCodeConfig.from_json_file(folder / "config.json")
model = load_computable(folder, config, precision="int8", policy=LoadingPolicy(note=print))
decoder = TorchDecoder(model)
decoder.prefill([[1, 2, 3]])
print(decoder.decode([4]).argmax(), decoder.append([5, 6]).argmax(-1).tolist())
"""


def test_a_pytorch_without_fast_calls_computes_the_same_and_says_so(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-c", WITHOUT_FAST_CALLS, str(tiny_checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    note, *tokens = done.stdout.splitlines()
    assert note.startswith("int8 layers are slower with PyTorch ")
    monkeypatch.setattr("sys.argv", ["", str(tiny_checkpoint)])
    exec(WITHOUT_FAST_CALLS.replace("\ndel ", "\nassert "), {})  # noqa: S102 - the program above
    assert tokens == capsys.readouterr().out.splitlines()


def test_a_stored_table_gives_float32_rows() -> None:
    rows = torch.randn(10, 4).bfloat16()
    table = StoredEmbedding(rows)
    found = table(torch.tensor([[3, 9]]))
    assert found.dtype == torch.float32
    assert torch.equal(found[0], rows[[3, 9]].float())
    assert table.weight.data_ptr() == rows.data_ptr()
    assert GROUP == 64
