"""gelu_tanh: the fast way gives the numbers of the plain one."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from gpt_bigcode.modeling.activations import gelu_tanh

MANY = 1 << 17


def test_many_numbers_are_those_of_the_exact_formula() -> None:
    hidden = torch.linspace(-30, 30, MANY)
    wanted = F.gelu(hidden.double(), approximate="tanh")
    with torch.inference_mode():
        found = gelu_tanh(hidden)
        assert not torch.equal(found, F.gelu(hidden, approximate="tanh"))  # it is the other way
    assert torch.allclose(found.double(), wanted, rtol=2e-6, atol=1e-7)


@torch.inference_mode()
@pytest.mark.parametrize("value", [0.0, 1e-30, 1e20, -1e20, float("inf"), float("nan")])
def test_extremes_are_those_of_the_plain_way(value: float) -> None:
    found, wanted = gelu_tanh(torch.full((MANY,), value)), gelu_tanh(torch.full((4,), value))
    assert torch.allclose(found[:4], wanted, equal_nan=True)
    assert torch.allclose(found[-1:], wanted[:1], equal_nan=True)


def test_gradients_flow() -> None:
    hidden = torch.randn(MANY, requires_grad=True)
    gelu_tanh(hidden).sum().backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_stay_as_they_are(dtype: torch.dtype) -> None:
    hidden = torch.linspace(-5, 5, MANY).to(dtype)
    assert torch.equal(gelu_tanh(hidden), F.gelu(hidden, approximate="tanh"))
