"""On a CUDA device the models say what they say on the processor."""

from typing import Any

import pytest
import torch

from gpt_bigcode.backends.cuda_graph import GraphedDecoder, StaticStep
from gpt_bigcode.backends.devices import choose_device, choose_precision
from gpt_bigcode.backends.torch_decoder import TorchDecoder
from gpt_bigcode.generation.loop import Generation, Limits
from gpt_bigcode.modeling.kv_cache import KeyValueCache
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


def _greedy(model: Any, prompts: list[list[int]], kind: Any = TorchDecoder) -> list[list[int]]:
    written: list[list[int]] = [[] for _ in prompts]
    for step in Generation(kind(model), prompts, limits=Limits(max_tokens=24)):
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


@pytest.mark.parametrize("multi_query", [True, False], ids=["multi-query", "multi-head"])
def test_captured_steps_write_what_plain_ones_write(*, multi_query: bool) -> None:
    model = make_ours(tiny_fields(multi_query=multi_query), seed=6).cuda()
    prompts = [token_ids(1, length, seed=length)[0].tolist() for length in (1, 9, 30)]
    said: list[str] = []
    written = _greedy(model, prompts, lambda model: GraphedDecoder(model, detail=said.append))
    assert (written, said) == (_greedy(model, prompts), [])


def test_several_captured_tokens_are_what_plain_ones_are() -> None:
    model = make_ours(seed=6).cuda()
    ids = token_ids(1, 20, seed=3)[0].tolist()
    graphed, plain = GraphedDecoder(model), TorchDecoder(model)
    for decoder in (graphed, plain):
        decoder.prefill([ids[:9]])
    for tokens in (ids[9:13], ids[13:17]):
        got, wanted = graphed.append(tokens), plain.append(tokens)
        assert deviation(torch.from_numpy(got), torch.from_numpy(wanted)) <= 1e-4


def test_a_graph_is_replayed_over_the_same_memory() -> None:
    model = make_ours(seed=6).cuda()
    cache = KeyValueCache(model.config, device="cuda", capacity=64)
    cache.clear_unused()
    step = StaticStep(model, cache, 1)
    with torch.inference_mode():
        step.capture(0)
        step.start([[5]], 0)
        first = step.logits().copy()
        step.start([[5]], 0)
    assert (step.logits() == first).all()


def test_what_cannot_be_captured_is_computed_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_step: StaticStep, _length: int) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    model = make_ours(seed=6).cuda()
    prompts = [token_ids(1, 9)[0].tolist()]
    wanted = _greedy(model, prompts)
    monkeypatch.setattr(StaticStep, "capture", refuse)
    said: list[str] = []
    written = _greedy(model, prompts, lambda model: GraphedDecoder(model, detail=said.append))
    assert written == wanted
    (why,) = said
    assert why.startswith("no CUDA graph, kernels are launched one by one: operation not")
