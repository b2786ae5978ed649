"""The forward pass in NumPy says what the one in PyTorch says, row by row."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gpt_bigcode.backends.interfaces import ScoredRow
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.numpy_heads import NumpyScorer
from gpt_bigcode.checkpoint.loading import save_model
from gpt_bigcode.checkpoint.tensor_index import PREFIX
from gpt_bigcode.config import ACTIVATIONS
from gpt_bigcode.errors import CheckpointMismatchError, ContextError, InputError, NonFiniteError
from reference_models import make_ours, tiny_fields, token_ids

_TOLERANCE = 1e-5


def _both(folder: Path, **changes: Any) -> tuple[NumpyDecoder, Any]:
    model = make_ours(tiny_fields(**changes), seed=3)
    save_model(model, folder)
    return NumpyDecoder.load(folder), model


def _last_logits(model: Any, ids: list[int]) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        return model(torch.tensor([ids]), logits_to_keep=1).logits[0, 0].numpy()  # type: ignore[no-any-return]


def _close(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> bool:
    return bool(np.abs(ours - theirs).max() <= _TOLERANCE * np.abs(theirs).max())


@pytest.mark.parametrize("multi_query", [True, False], ids=["multi-query", "multi-head"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_logits_agree(tmp_path: Path, activation: str, *, multi_query: bool) -> None:
    decoder, model = _both(tmp_path, multi_query=multi_query, activation_function=activation)
    ids = token_ids(1, 17)[0].tolist()
    assert _close(decoder.prefill([ids])[0], _last_logits(model, ids))
    for token in (5, 0, 52):
        ids.append(token)
        assert _close(decoder.decode([token])[0], _last_logits(model, ids))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"scale_attn_weights": False}, id="unscaled"),
        pytest.param({"layer_norm_epsilon": 0.1}, id="epsilon"),
        pytest.param({"tie_word_embeddings": False}, id="untied-head"),
        pytest.param({"n_inner": None, "n_head": 1}, id="one-head"),
    ],
)
def test_switches_agree(tmp_path: Path, changes: dict[str, Any]) -> None:
    decoder, model = _both(tmp_path, **changes)
    ids = token_ids(1, 9)[0].tolist()
    assert _close(decoder.prefill([ids])[0], _last_logits(model, ids))


@pytest.mark.parametrize("value", [-3e38, 1e308, float("nan")])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_damaged_weights_give_no_warning(tmp_path: Path, activation: str, value: float) -> None:
    """Python's warnings are errors in this test; the values themselves say what is wrong."""
    model = make_ours(tiny_fields(activation_function=activation), seed=3).double()
    save_model(model, tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    for name in ("wte.weight", "h.0.ln_1.bias", "h.0.mlp.c_fc.weight", "ln_f.weight"):
        damaged = {key: tensor.clone() for key, tensor in whole.items()}
        damaged[PREFIX + name].view(-1)[::7] = value
        save_file(damaged, tmp_path / "model.safetensors", metadata={"format": "pt"})
        decoder = NumpyDecoder.load(tmp_path)
        decoder.prefill([[1, 2, 3]])
        decoder.append([4, 5])
        with suppress(NonFiniteError):
            NumpyScorer(decoder).log_probabilities([ScoredRow([0, 1, 2, 8], 1)])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_stored_types_are_read_exactly(tmp_path: Path, dtype: torch.dtype) -> None:
    model = make_ours(seed=4).to(dtype)
    save_model(model, tmp_path)
    ids = token_ids(1, 9)[0].tolist()
    assert _close(NumpyDecoder.load(tmp_path).prefill([ids])[0], _last_logits(model.float(), ids))


@pytest.mark.parametrize("multi_query", [True, False], ids=["multi-query", "multi-head"])
def test_long_prompts_are_read_in_chunks(tmp_path: Path, *, multi_query: bool) -> None:
    decoder, model = _both(tmp_path, n_positions=600, multi_query=multi_query)
    ids = token_ids(1, 598)[0].tolist()
    assert _close(decoder.prefill([ids])[0], _last_logits(model, ids))
    assert _close(decoder.decode([7])[0], _last_logits(model, [*ids, 7]))


@pytest.mark.parametrize("multi_query", [True, False], ids=["multi-query", "multi-head"])
def test_rows_together_equal_rows_alone(tmp_path: Path, *, multi_query: bool) -> None:
    decoder, model = _both(tmp_path, multi_query=multi_query)
    rows = [token_ids(1, length, seed=length)[0].tolist() for length in (1, 2, 17, 40, 2)]
    together = decoder.prefill(rows)
    for row, logits in zip(rows, together, strict=True):
        assert _close(logits, _last_logits(model, row))
    decoder.decode([1, 2, 3, 4, 5])
    decoder.select_rows([3, 0])
    logits = decoder.decode([6, 7])
    assert _close(logits[0], _last_logits(model, [*rows[3], 4, 6]))
    assert _close(logits[1], _last_logits(model, [*rows[0], 1, 7]))


def test_equal_prompts_go_their_own_ways(tmp_path: Path) -> None:
    decoder, model = _both(tmp_path)
    ids = token_ids(1, 11)[0].tolist()
    decoder.prefill([ids, ids])
    logits = decoder.decode([1, 2])
    assert _close(logits[0], _last_logits(model, [*ids, 1]))
    assert _close(logits[1], _last_logits(model, [*ids, 2]))


def test_bad_input_is_named(tmp_path: Path) -> None:
    decoder, model = _both(tmp_path)
    with pytest.raises(InputError, match=r"0\.\.52"):
        decoder.prefill([[53]])
    with pytest.raises(ContextError, match="64"):
        decoder.prefill([[1] * 65])
    with torch.no_grad():
        model.transformer.h[1].mlp.c_fc.weight.data = torch.ones(37, 23)
    save_model(model, tmp_path)
    with pytest.raises(CheckpointMismatchError, match=r"h\.1\.mlp\.c_fc\.weight"):
        NumpyDecoder.load(tmp_path)
