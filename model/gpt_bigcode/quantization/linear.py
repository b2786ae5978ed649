"""Linear layers with int8 or int4 weights, which replace `nn.Linear` after loading.

int8: each row of the matrix (an output) has a scale, and each row of the input is quantized
separately, so that a token gets the same numbers in every batch (see `int8_kernel`). int4: groups
of 64 weights have a scale and an offset, and the input is rounded to bfloat16.
"""

from dataclasses import dataclass
from functools import cache
from math import isfinite, nan
from typing import Self

import torch
from torch import Tensor, nn

from gpt_bigcode.errors import NonFiniteError
from gpt_bigcode.quantization.int8_kernel import (
    MANY_ROWS,
    FbgemmInt8,
    OneDnnInt8,
    fast_calls,
    full_range,
    has_fbgemm,
    has_onednn,
)
from gpt_bigcode.quantization.packed_matrix import PackedMatrix

GROUP = 64
# The packed formats of 4 bits have whole blocks of 32 or 64 rows.
INT4_ROWS = 64
# 7 bits: pairs of products are added in 16 bits where there is no VNNI, and 8 bits would saturate.
_LEVELS = 127
_WEIGHT_TOP = 127
_TINY = 1e-30
# The operator accepts no smaller step, which would leave inputs of 1e-4 few bits. So rows are first
# multiplied by a power of two, which is exact.
_SMALLEST_STEP = 6.1e-5
ENLARGED = 4096.0
# From this many rows on, unpacking a matrix once is cheaper than products of packed weights.
_INT4_ROWS_UNPACKED = 48
# For smaller matrices, calling oneDNN takes about as long as the product with a single row.
_SMALL_MATRIX = 3 << 20


def has_int4() -> bool:
    """Whether PyTorch has the operators that `Int4Linear` needs, on this processor."""
    try:
        with torch.inference_mode():
            layer = Int4Linear(*quantize_int4(torch.ones(INT4_ROWS, GROUP)))
            return bool(layer(torch.ones(1, GROUP)).isfinite().all())
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


@cache
def int8_rows_are_exact() -> bool:
    """Whether a row's result is bit for bit the same alone and in a batch, on this processor."""
    numbers = torch.arange(64 * 256, dtype=torch.float32).sin_().view(64, 256)
    layer, rows = Int8Linear(*quantize_int8(numbers)), numbers[:9].cos()
    return torch.equal(layer(rows), torch.cat([layer(row.unsqueeze(0)) for row in rows]))


def fits_int4(outputs: int, inputs: int) -> bool:
    """Whether a matrix of that shape can have 4 bits."""
    return outputs % INT4_ROWS == 0 and inputs % GROUP == 0


def quantize_int8(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Quantize rows of a matrix, any number of them.

    Args:
        weight: float [O, I].

    Returns:
        int8 [O, I], their scales float32 [O], and the sums of the rows, scaled, float32 [O].

    Raises:
        NonFiniteError: NaN or infinity among the weights.
    """
    weight = weight.float()
    scale = _finite(weight.abs().amax(1)).clamp(min=_TINY) / _WEIGHT_TOP
    rounded = (weight / scale.unsqueeze(1)).round_().to(torch.int8)
    return rounded, scale, rounded.sum(1, dtype=torch.int32) * scale


def quantize_int4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize rows of a matrix, a multiple of 64 of them, and pack them for the processor.

    Args:
        weight: float [O, I], I a multiple of 64.

    Returns:
        uint8 [O, I / 2] in PyTorch's own order, and bfloat16 [I / 64, O, 2]: scale and offset.

    Raises:
        NonFiniteError: NaN or infinity among the weights.
    """
    rows, columns = weight.shape
    groups = weight.float().view(rows, columns // GROUP, GROUP)
    low, high = groups.amin(-1), groups.amax(-1)  # seven times as fast as aminmax
    scale = ((_finite(high) - _finite(low)) / 15).clamp(min=_TINY).bfloat16()
    offset = (low + 8 * scale.float()).bfloat16()
    steps = (groups - offset.float().unsqueeze(-1)) / scale.float().unsqueeze(-1)
    numbers = (steps.round_() + 8).clamp_(0, 15).to(torch.int32).view(rows, columns)
    return _pack_int4(numbers), torch.stack((scale, offset), -1).transpose(0, 1).contiguous()


@dataclass(frozen=True)
class Int8Forms:
    """The forms in which a matrix of 8 bits is needed.

    Attributes:
        fbgemm: packed for FBGEMM, for up to `MANY_ROWS` rows.
        onednn: packed for oneDNN, for all other products.
    """

    fbgemm: bool
    onednn: bool

    @classmethod
    def of(cls, outputs: int, inputs: int) -> Self:
        """The forms of a matrix of that shape, on this processor."""
        chosen = has_onednn() and full_range()
        small = outputs * inputs < _SMALL_MATRIX
        fbgemm = has_fbgemm() and (small or not chosen)
        return cls(fbgemm=fbgemm, onednn=chosen or not fbgemm)


class Int8Linear(nn.Module):
    """A matrix of 8 bits with a scale for each output.

    Each row x of the input is rounded to integers separately, and integers add up exactly, in any
    order. oneDNN takes 8 bits around 0. FBGEMM takes 7: x becomes (n - zero) * step with n in
    0..127, where step and zero are chosen so that 0 and the row's extremes are representable; the
    product is then step * scale * (integers - zero * sums of the rows). A single row is quantized
    by FBGEMM's own operator, which has one step per batch; several rows are quantized here, by the
    same arithmetic.
    """

    def __init__(
        self,
        weight: Tensor | None,
        scale: Tensor,
        sums: Tensor,
        *,
        bias: Tensor | None = None,
        matrix_units: bool = False,
        packed: PackedMatrix | None = None,
    ) -> None:
        """Take what `quantize_int8` made.

        Args:
            weight: int8 [O, I]; None where `packed` is enough (see `Int8Forms`).
            scale: float32 [O].
            sums: float32 [O].
            bias: float32 [O], or None for none.
            matrix_units: many rows come out as bfloat16.
            packed: the weight as oneDNN takes it; None: it is packed here if needed.
        """
        super().__init__()
        if packed is not None:
            self.in_features, self.out_features = packed.tensor.shape
        elif weight is not None:
            self.out_features, self.in_features = weight.shape
        forms = Int8Forms.of(self.out_features, self.in_features)
        # A copy: a view of a mapped file would keep all of it in memory.
        self._scale, self._sums = scale.clone(), (sums / scale).round_()
        self._fbgemm = self._onednn = None
        if forms.fbgemm:
            self._fbgemm = FbgemmInt8(_there(weight))
        if forms.onednn:
            self._onednn = OneDnnInt8(packed or PackedMatrix.pack(_there(weight)), self._scale)
        # Tensors, because a number would be converted to one at each product.
        self._enlarged, self._enlarged_scale = torch.tensor(ENLARGED), scale / ENLARGED
        self._shrunk = torch.tensor(1 / ENLARGED)
        self._bias = torch.zeros_like(scale) if bias is None else bias
        self._many = torch.bfloat16 if matrix_units else torch.float32

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., I] -> [..., O], float32; with matrix units bfloat16 for many rows."""
        rows = hidden.reshape(-1, self.in_features)
        many = len(rows) >= MANY_ROWS
        if self._onednn is not None and (many or self._fbgemm is None):
            dtype = self._many if many else torch.float32
            with fast_calls():
                product, step = self._onednn(rows if many else rows.float(), dtype=dtype)
            result = torch.addcmul(self._bias.to(dtype), product, step)
        elif len(rows) == 1:
            enlarged = rows.float() * self._enlarged
            if not isfinite(enlarged.sum().item()):  # the operator treats NaN as a number
                return torch.full_like(self._bias, nan).expand(*hidden.shape[:-1], -1)
            with fast_calls():
                result = self.multiply(enlarged)
        else:
            result = self._multiply_rows(rows.float())
        return result.view(*hidden.shape[:-1], self.out_features)

    def multiply(self, enlarged: Tensor, *, out: Tensor | None = None) -> Tensor:
        """One finite row, already multiplied by `ENLARGED`: [..., I] -> [..., O], float32.

        Fast only within `fast_calls`.
        """
        if self._fbgemm is not None:
            product = self._fbgemm.times_row(enlarged)
            return torch.addcmul(self._bias, product, self._enlarged_scale, out=out)
        assert self._onednn is not None  # noqa: S101 - one of them is
        product, step = self._onednn(enlarged)
        return torch.addcmul(self._bias, product, step.mul_(self._shrunk), out=out)

    @torch.no_grad()  # results that are written into a buffer have no gradient
    def _multiply_rows(self, rows: Tensor) -> Tensor:
        """[T, I] -> [T, O] by FBGEMM, each row as `multiply` would compute it alone."""
        assert self._fbgemm is not None  # noqa: S101 - `forward` looked
        low = rows.amin(1, keepdim=True).clamp_(max=0).mul_(self._enlarged).double()
        high = rows.amax(1, keepdim=True).clamp_(min=0).mul_(self._enlarged)
        step = ((high - low) / _LEVELS).clamp_(min=_TINY).float()
        zero = (low / step).round_().neg_().float()
        step.clamp_(min=_SMALLEST_STEP)
        # A fused multiply-add, as in that operator; rounding happens in this one. Broadcasting two
        # factors over a row would take five times as long as one.
        numbers = zero.expand_as(rows).contiguous().addcmul_(rows, self._enlarged / step)
        with fast_calls():
            product = self._fbgemm.times_numbers(numbers)
        product.addcmul_(zero, self._sums, value=-1).mul_(step)
        return torch.addcmul(self._bias, product, self._enlarged_scale, out=product)


class Int4Linear(nn.Module):
    """A matrix of 4 bits; each group of 64 weights of an output has a scale and an offset.

    One row is multiplied with the packed weights; for many rows they are unpacked first, in blocks.
    Both round input and output to bfloat16, so that they differ by no more than that.
    """

    def __init__(
        self,
        packed: Tensor,
        scales: Tensor,
        *,
        bias: Tensor | None = None,
        matrix_units: bool = False,
    ) -> None:
        """Take what `quantize_int4` made.

        Args:
            packed: uint8 [O, I / 2].
            scales: bfloat16 [I / 64, O, 2].
            bias: float32 [O], or None for none.
            matrix_units: multiply unpacked weights in bfloat16; many rows come out as bfloat16.
        """
        super().__init__()
        self.out_features, self.in_features = scales.shape[1], scales.shape[0] * GROUP
        self._packed, self._scales, self._bias = packed, scales, bias
        self._dtype = torch.bfloat16 if matrix_units else torch.float32
        self._multiply = torch.ops.aten._weight_int4pack_mm_for_cpu  # noqa: SLF001 - its name

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., I] -> [..., O], float32; with matrix units bfloat16 for many rows."""
        rows = hidden.reshape(-1, self.in_features).bfloat16()
        block = _block_rows()
        if block and len(rows) >= _INT4_ROWS_UNPACKED:
            product = self._multiply_unpacked(rows, block)
        else:
            product = self._multiply(rows, self._packed, GROUP, self._scales)
        many = self._dtype is torch.bfloat16 and len(rows) >= MANY_ROWS
        product = product if many else product.float()
        result = product if self._bias is None else product + self._bias.to(product.dtype)
        return result.view(*hidden.shape[:-1], self.out_features)

    def _multiply_unpacked(self, rows: Tensor, block: int) -> Tensor:
        """bfloat16 [T, I] -> [T, O], with about 16 MiB of unpacked weights at a time."""
        inputs = rows.to(self._dtype)
        result = rows.new_empty((len(rows), self.out_features))
        size = max(block, (1 << 22) // self.in_features // block * block)
        for start in range(0, self.out_features, size):
            part = slice(start, start + size)
            numbers = _unpack_int4(self._packed[part], block, self._dtype)
            groups = numbers.view(-1, GROUP, numbers.shape[1])
            scale, offset = self._scales[:, part].to(self._dtype).permute(2, 0, 1).contiguous()
            weight = torch.addcmul(offset.unsqueeze(1), groups, scale.unsqueeze(1))
            result[:, part] = torch.mm(inputs, weight.flatten(0, 1))
        return result


class StoredEmbedding(nn.Embedding):
    """A table in its stored form, mapped where possible; its rows come out as float32."""

    def __init__(self, rows: Tensor) -> None:
        count, width = rows.shape
        super().__init__(count, width, _weight=rows, _freeze=True)

    def forward(self, ids: Tensor) -> Tensor:
        """[...] -> [..., E], float32."""
        return super().forward(ids).float()


def _pack_int4(numbers: Tensor) -> Tensor:
    """int32 [O, I], 0..15 -> uint8 [O, I / 2]; O is a multiple of 64."""
    pack = torch.ops.aten._convert_weight_to_int4pack_for_cpu  # noqa: SLF001 - its name
    return pack(numbers, 2)  # type: ignore[no-any-return]


def packing_of_int4() -> bytes:
    """A known matrix, packed: the same bytes mean the same packed format."""
    return _packed_sample()[1].numpy().tobytes()


@cache
def _block_rows() -> int:
    """How many rows the packed 4-bit format groups; 0 if the format is unknown."""
    numbers, packed = _packed_sample()
    for block in (INT4_ROWS, INT4_ROWS // 2):
        if torch.equal(_unpack_int4(packed, block, torch.float32).t() + 8, numbers.float()):
            return block
    return 0


def _packed_sample() -> tuple[Tensor, Tensor]:
    """Every 4-bit number in a matrix [128, 64], and its packed form."""
    rows, columns = torch.arange(2 * INT4_ROWS), torch.arange(GROUP)
    numbers = ((rows.unsqueeze(1) * 7 + columns * 5 + rows.unsqueeze(1) // 16) % 16).int()
    return numbers, _pack_int4(numbers)


def _unpack_int4(packed: Tensor, block: int, dtype: torch.dtype) -> Tensor:
    """uint8 [O, I / 2] -> [I, O] of that dtype, -8..7: by columns, the order of the bytes.

    A block of rows lies column by column, 16 bytes for each two groups of 16 rows. With blocks of
    32 the low half bytes are rows 0 to 15 and the high ones 16 to 31; with blocks of 64 a column
    has 32 bytes, whose low half bytes are rows 0 to 31.
    """
    half = block // 2
    columns = packed.numel() * 2 // len(packed)
    pairs = packed.view(-1, columns, half)
    numbers = torch.empty(columns, len(pairs), 2, half, dtype=dtype)
    for place, nibbles in enumerate((pairs & 15, pairs >> 4)):
        numbers[:, :, place] = nibbles.view(torch.int8).sub_(8).transpose(0, 1)
    return numbers.view(columns, len(packed))


def _there(weight: Tensor | None) -> Tensor:
    if weight is None:
        raise ValueError("the packed matrix is not enough")
    return weight


def _finite(values: Tensor) -> Tensor:
    if not bool(values.isfinite().all()):
        raise NonFiniteError("weights are NaN or infinite")
    return values
