"""At the real sizes of bigcode/tiny_starcoder_py, read from the reference's own files."""

from pathlib import Path
from typing import Any

import pytest
import torch

from amounts import amount
from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.config import GPTBigCodeConfig
from reference_models import deviation, make_reference, positions_of, token_ids

FIELDS = {
    "vocab_size": 49152,
    "n_positions": 8192,
    "n_embd": 768,
    "n_layer": 20,
    "n_head": 12,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
LIMIT = 1e-5


@pytest.mark.slow
@torch.no_grad()
def test_164_million_parameters(tmp_path: Path) -> None:
    assert GPTBigCodeConfig.from_dict(FIELDS).parameter_count() == 164_144_128
    # Its layers are alike: two of them have every shape, and the rest is as large as it is.
    fields = {**FIELDS, "n_layer": amount(full=20, usual=2)}
    theirs = make_reference(fields, std=0.05)
    ids, mask = token_ids(2, 32, vocabulary=49152), torch.ones(2, 32, dtype=torch.long)
    mask[1, :13] = 0
    positions = positions_of(mask)
    positions[0] += 8192 - 32  # the last ones that there are
    expected = theirs(ids, attention_mask=mask, position_ids=positions).logits
    theirs.save_pretrained(tmp_path)
    theirs_parameters = theirs.num_parameters()
    del theirs
    ours: Any = load_model(tmp_path)
    parameters = sum(parameter.numel() for parameter in ours.parameters())
    assert parameters == ours.config.parameter_count() == theirs_parameters
    first = ours(ids[:, :31], attention_mask=mask[:, :31], position_ids=positions[:, :31])
    last = ours(
        ids[:, 31:],
        attention_mask=mask,
        position_ids=positions[:, 31:],
        past_key_values=first.past_key_values,
    )
    got = torch.cat([first.logits, last.logits], dim=1)
    real = mask.bool()
    assert deviation(got[real], expected[real]) <= LIMIT
    (tmp_path / "model.safetensors").unlink()
