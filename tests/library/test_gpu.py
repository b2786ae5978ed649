"""On a CUDA device the models say what they say on the processor."""

from typing import Any

import pytest
import torch

from gpt_bigcode.decoder import TorchDecoder
from gpt_bigcode.devices import choose_device, choose_precision
from gpt_bigcode.generation import Generation, Limits
from reference_models import deviation, make_ours, tiny_fields, token_ids

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("multi_query", [True, False], ids=["multi-query", "multi-head"])
@pytest.mark.parametrize("side", ["none", "left", "right"])
def test_logits_equal_those_of_the_processor(side: str, *, multi_query: bool) -> None:
    model = make_ours(tiny_fields(multi_query=multi_query), seed=5)
    ids = token_ids(3, 17)
    mask = torch.ones_like(ids)
    if side != "none":
        hidden = slice(0, 4) if side == "left" else slice(-4, None)
        mask[1, hidden] = 0
    with torch.no_grad():
        wanted = model(ids, attention_mask=mask).logits
        got = model.cuda()(ids.cuda(), attention_mask=mask.cuda()).logits.cpu()
    real = mask.bool()
    assert deviation(got[real], wanted[real]) <= 1e-4


def _greedy(model: Any, prompts: list[list[int]]) -> list[list[int]]:
    written: list[list[int]] = [[] for _ in prompts]
    for step in Generation(TorchDecoder(model), prompts, limits=Limits(max_tokens=24)):
        for token in step:
            written[token.row].append(token.id)
    return written


def test_greedy_text_equals_that_of_the_processor() -> None:
    model = make_ours(seed=6)
    prompts = [token_ids(1, length, seed=length)[0].tolist() for length in (1, 9, 30)]
    wanted = _greedy(model, prompts)
    assert _greedy(model.cuda(), prompts) == wanted


def test_auto_takes_the_device_and_a_half_precision() -> None:
    device = choose_device("auto")
    assert device.type == "cuda"
    assert choose_precision("auto", device) in (torch.bfloat16, torch.float16)
