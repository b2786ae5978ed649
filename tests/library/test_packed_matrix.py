"""Packed int8 matrices as bytes: what is made of the bytes computes what was packed."""

import mmap
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gpt_bigcode.quantization import packed_matrix
from gpt_bigcode.quantization.int8_kernel import OneDnnInt8, full_range
from gpt_bigcode.quantization.packed_matrix import PackedMatrix, can_map, packed_bytes

SHAPES = [(64, 64), (896, 768), (130, 50), (33, 257), (1, 7)]


def numbers(outputs: int, inputs: int) -> Tensor:
    generator = torch.Generator().manual_seed(outputs)
    return torch.randint(-127, 128, (outputs, inputs), dtype=torch.int8, generator=generator)


@torch.inference_mode()
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_mapped_matrix_computes_what_was_packed(
    shape: tuple[int, int], threads: int, tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)  # oneDNN may choose another format
    try:
        packed = PackedMatrix.pack(numbers(*shape))
    finally:
        torch.set_num_threads(before)
    path, data = tmp_path / "packed", packed.to_bytes()
    assert len(data) == packed_bytes(*shape)
    path.write_bytes(bytes(4) + data.numpy().tobytes())  # not at a multiple of 64
    with path.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    part = torch.frombuffer(memoryview(mapped)[4:], dtype=torch.uint8)
    found = PackedMatrix.of_bytes(part, *shape)
    assert found.tensor.shape == packed.tensor.shape
    scale = torch.rand(shape[0]) + 0.5
    for rows in (1, 5, 200):
        hidden = torch.randn(rows, shape[1])
        for one, other in zip(
            OneDnnInt8(found, scale)(hidden), OneDnnInt8(packed, scale)(hidden), strict=True
        ):
            assert torch.equal(one, other)


def test_this_pytorch_maps_packed_matrices() -> None:
    assert can_map() or not full_range()


def test_a_pytorch_without_the_function_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> object:
        raise AttributeError("aoti_torch_create_tensor_from_blob_v2")

    monkeypatch.setattr(packed_matrix, "_library", missing)
    can_map.cache_clear()
    try:
        assert not can_map()
    finally:
        can_map.cache_clear()
