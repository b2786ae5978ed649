"""The original layout of bigcode/santacoder becomes ours without a changed number."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
import transformers
from safetensors.torch import save_file
from torch import Tensor

from gpt_bigcode.checkpoint.conversion import convert_tensors
from gpt_bigcode.checkpoint.loading import load_model, save_model
from gpt_bigcode.checkpoint.santacoder_config import convert_config, is_santacoder
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import CheckpointMismatchError, UnsupportedModelError
from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
from reference_models import TINY, deviation, make_reference, scatter, tiny_fields, token_ids

LIMIT = 1e-5
WIDTH, HEADS, HEAD_DIM = 24, 3, 8
# The published config.json, with our tiny sizes.
ORIGINAL: dict[str, Any] = {
    "activation_function": "gelu_fast",
    "architectures": ["GPT2LMHeadCustomModel"],
    "attention_head_type": "multiquery",
    "attn_pdrop": 0.1,
    "auto_map": {
        "AutoConfig": "configuration_gpt2_mq.GPT2CustomConfig",
        "AutoModelForCausalLM": "modeling_gpt2_mq.GPT2LMHeadCustomModel",
    },
    "bos_token_id": 49,
    "embd_pdrop": 0.1,
    "eos_token_id": 49,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2",
    "n_embd": WIDTH,
    "n_head": HEADS,
    "n_inner": TINY["n_inner"],
    "n_layer": 2,
    "n_positions": TINY["n_positions"],
    "reorder_and_upcast_attn": False,
    "resid_pdrop": 0.1,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "torch_dtype": "float32",
    "transformers_version": "4.25.1",
    "use_cache": True,
    "vocab_size": TINY["vocab_size"],
}


def original_tensors(*, apart: bool) -> dict[str, Tensor]:
    """Random tensors under the original names: projections are [in, out]."""
    generator = torch.Generator().manual_seed(3)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.5

    inner, vocabulary, positions = TINY["n_inner"], TINY["vocab_size"], TINY["n_positions"]
    state = {
        "transformer.wte.weight": noise(vocabulary, WIDTH),
        "transformer.wpe.weight": noise(positions, WIDTH),
        "transformer.ln_f.weight": noise(WIDTH) + 1,
        "transformer.ln_f.bias": noise(WIDTH),
    }
    projections = {"attn.c_proj": (WIDTH, WIDTH), "mlp.c_fc": (WIDTH, inner)}
    projections |= {"mlp.c_proj": (inner, WIDTH)}
    if apart:
        projections |= {"attn.q_attn": (WIDTH, WIDTH), "attn.kv_attn": (WIDTH, 2 * HEAD_DIM)}
    else:
        projections |= {"attn.c_attn": (WIDTH, WIDTH + 2 * HEAD_DIM)}
    for layer in ("transformer.h.0.", "transformer.h.1."):
        for name, shape in projections.items():
            state[f"{layer}{name}.weight"] = noise(*shape)
            state[f"{layer}{name}.bias"] = noise(shape[1])
        for name in ("ln_1", "ln_2"):
            state[f"{layer}{name}.weight"] = noise(WIDTH) + 1
            state[f"{layer}{name}.bias"] = noise(WIDTH)
        state[f"{layer}attn.bias"] = torch.ones(1, 1, positions, positions, dtype=torch.uint8)
        state[f"{layer}attn.masked_bias"] = torch.tensor(-1e4)
    state["lm_head.weight"] = state["transformer.wte.weight"].clone()
    return state


def original_logits(state: dict[str, Tensor], ids: Tensor) -> Tensor:
    """The original forward pass, in its own orientation."""

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-5)

    def conv1d(name: str, x: Tensor) -> Tensor:
        return x @ state[f"{name}.weight"] + state[f"{name}.bias"]

    length = ids.shape[1]
    hidden = state["transformer.wte.weight"][ids] + state["transformer.wpe.weight"][:length]
    for layer in ("transformer.h.0.", "transformer.h.1."):
        x = norm(layer + "ln_1", hidden)
        if layer + "attn.q_attn.weight" in state:
            query = conv1d(layer + "attn.q_attn", x)
            key, value = conv1d(layer + "attn.kv_attn", x).chunk(2, dim=-1)
        else:
            query, key, value = torch.split(conv1d(layer + "attn.c_attn", x), [24, 8, 8], dim=-1)
        heads = []
        for head in torch.split(query, HEAD_DIM, dim=-1):
            scores = head @ key.mT / HEAD_DIM**0.5
            future = torch.full((length, length), float("-inf")).triu(1)
            heads.append(torch.softmax(scores + future, dim=-1) @ value)
        hidden = hidden + conv1d(layer + "attn.c_proj", torch.cat(heads, dim=-1))
        x = conv1d(layer + "mlp.c_fc", norm(layer + "ln_2", hidden))
        hidden = hidden + conv1d(layer + "mlp.c_proj", F.gelu(x, approximate="tanh"))
    return norm("transformer.ln_f", hidden) @ state["transformer.wte.weight"].T


def write_converted(state: dict[str, Tensor], config: dict[str, Any], folder: Path) -> Any:
    """What a converter of files would do, read back by the strict loader."""
    save_model(GPTBigCodeForCausalLM(GPTBigCodeConfig.from_dict(convert_config(config))), folder)
    save_file(convert_tensors(state, config), folder / "model.safetensors")
    return load_model(folder)


@pytest.mark.parametrize("apart", [True, False])
@torch.no_grad()
def test_multi_query(*, apart: bool, tmp_path: Path) -> None:
    state = original_tensors(apart=apart)
    model = write_converted(state, ORIGINAL, tmp_path)
    ids = token_ids(2, 15)
    assert deviation(model(ids).logits, original_logits(state, ids)) <= LIMIT
    theirs = transformers.GPTBigCodeForCausalLM.from_pretrained(tmp_path)
    assert deviation(theirs(ids).logits, original_logits(state, ids)) <= LIMIT
    assert model.config.eos_token_id == 49


@torch.no_grad()
def test_multi_head_is_gpt2(tmp_path: Path) -> None:
    shape = {name: ORIGINAL[name] for name in ("vocab_size", "n_positions", "n_embd", "n_layer")}
    config = transformers.GPT2Config(
        **shape,
        n_head=HEADS,
        n_inner=TINY["n_inner"],
        activation_function="gelu_new",
        bos_token_id=0,
        eos_token_id=0,
    )
    theirs: Any = transformers.GPT2LMHeadModel(config)
    theirs.eval()
    scatter(theirs, seed=5, std=0.4)
    original = {**ORIGINAL, "attention_head_type": "multihead"}
    state = {name: value.clone() for name, value in theirs.state_dict().items()}
    model = write_converted(state, original, tmp_path)
    ids = token_ids(2, 15)
    assert deviation(model(ids).logits, theirs(ids).logits) <= LIMIT


def test_the_other_way_round_gives_the_same_tensors() -> None:
    """Square projections are turned too: shapes alone could not tell."""
    state = make_reference(tiny_fields()).state_dict()
    turned = {}
    for name, value in state.items():
        projection = value.dim() == 2 and ".h." in name
        turned[name] = value.T.contiguous() if projection else value
    converted = convert_tensors(turned, ORIGINAL)
    assert converted.keys() == state.keys()
    for name, value in converted.items():
        assert torch.equal(value, state[name]), name
        assert value.is_contiguous()


def test_what_the_configuration_becomes() -> None:
    values = convert_config(ORIGINAL)
    config = GPTBigCodeConfig.from_dict(values)
    assert config.multi_query
    assert config.activation_function == "gelu_fast"
    assert config.n_inner == TINY["n_inner"]
    assert not values.keys() & {"auto_map", "attention_head_type"}
    multi_head = convert_config({**ORIGINAL, "attention_head_type": "multihead"})
    assert not GPTBigCodeConfig.from_dict(multi_head).multi_query


def test_which_configurations_are_original() -> None:
    assert is_santacoder(ORIGINAL)
    plain_gpt2 = {name: value for name, value in ORIGINAL.items() if name != "attention_head_type"}
    assert not is_santacoder(plain_gpt2)
    assert not is_santacoder({**ORIGINAL, "model_type": "gpt_bigcode"})
    with pytest.raises(UnsupportedModelError, match="original layout"):
        convert_config(plain_gpt2)


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_head_type": "groupedquery"},
        {"attention_head_type": None},
        {"attention_head_type": ["multiquery"]},
        {"scale_attn_by_inverse_layer_idx": True},
    ],
    ids=str,
)
def test_what_is_not_implemented(changes: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedModelError, match=next(iter(changes))):
        convert_config({**ORIGINAL, **changes})


@pytest.mark.parametrize("part", ["q_attn", "kv_attn"])
@pytest.mark.parametrize("kind", ["weight", "bias"])
def test_half_of_an_attention(kind: str, part: str) -> None:
    state = original_tensors(apart=True)
    del state[f"transformer.h.1.attn.{part}.{kind}"]
    with pytest.raises(CheckpointMismatchError, match=f"no {part}"):
        convert_tensors(state, ORIGINAL)


def test_a_wrong_shape_is_found_by_the_loader(tmp_path: Path) -> None:
    state = original_tensors(apart=True)
    state["transformer.h.0.attn.kv_attn.weight"] = torch.zeros(WIDTH, HEAD_DIM)
    with pytest.raises(CheckpointMismatchError, match="c_attn"):
        write_converted(state, ORIGINAL, tmp_path)
