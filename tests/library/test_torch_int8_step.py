"""One token through int8 layers is the same token among others, bit for bit, and hides nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gpt_bigcode.backends.torch_loading import load_computable
from gpt_bigcode.backends.torch_single_row import RowTrunk
from gpt_bigcode.benchmarking.random_weights import write_random_checkpoint
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
from gpt_bigcode.modeling.kv_cache import KeyValueCache
from gpt_bigcode.modeling.transformer import GPTBigCodeModel
from gpt_bigcode.quantization.linear import Int8Linear

# A head's size whose root is no power of two, an activation that is not the usual one.
ODD = {"n_embd": 96, "n_layer": 3, "n_head": 2, "vocab_size": 300, "n_positions": 64}


def opened(folder: Path, precision: str = "int8") -> GPTBigCodeModel:
    config = GPTBigCodeConfig.from_json_file(folder / "config.json")
    model = load_computable(folder, config, device="cpu", precision=precision)
    assert isinstance(model, GPTBigCodeForCausalLM)
    return model.transformer


@pytest.fixture(params=["tiny", "odd", "relu"])
def trunk(request: pytest.FixtureRequest, tmp_path: Path, tiny_checkpoint: Path) -> GPTBigCodeModel:
    if request.param == "tiny":
        return opened(tiny_checkpoint)
    more = {"activation_function": "relu", "scale_attn_weights": False}
    fields = ODD if request.param == "odd" else {**ODD, **more}
    write_random_checkpoint(tmp_path, GPTBigCodeConfig.from_dict(fields))
    return opened(tmp_path)


@torch.inference_mode()
def test_one_token_after_the_other_is_all_at_once_bit_by_bit(trunk: GPTBigCodeModel) -> None:
    assert RowTrunk(trunk).has_int8_step
    ids = torch.tensor(np.random.default_rng(3).integers(0, 300, 40))
    rows = RowTrunk(trunk)
    alone, together = (KeyValueCache(trunk.config, capacity=1) for _ in range(2))
    found = torch.cat([rows(token, alone) for token in torch.split(ids, 1)])
    wanted = torch.cat([rows(piece, together) for piece in torch.split(ids, 8)])
    assert torch.equal(found, wanted)
    assert alone.length == together.length == 40
    for layer in range(trunk.config.n_layer):
        assert torch.equal(torch.stack(alone.layer(layer)), torch.stack(together.layer(layer)))


@torch.inference_mode()
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"])
def test_what_is_not_finite_in_any_layer_is_not_hidden(
    tiny_checkpoint: Path, place: str, bad: float
) -> None:
    trunk = opened(tiny_checkpoint)
    rows, token = RowTrunk(trunk), torch.tensor([40])
    assert rows(token, KeyValueCache(trunk.config)).isfinite().all()
    layer = trunk.h[0].get_submodule(place)
    assert isinstance(layer, Int8Linear)
    layer._bias[-1] = bad
    assert rows(token, KeyValueCache(trunk.config)).isnan().all()


def test_other_precisions_do_not_fit(tiny_checkpoint: Path) -> None:
    assert not RowTrunk(opened(tiny_checkpoint, "float32")).has_int8_step
