"""What the models return, with the reference's field names."""

from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from gpt_bigcode.modeling.kv_cache import KeyValueCache


@dataclass(frozen=True)
class ModelOutput:
    """Base of all results."""

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are present, in order: the reference's return_dict=False."""
        values = (getattr(self, spec.name) for spec in fields(self))
        return tuple(value for value in values if value is not None)


@dataclass(frozen=True)
class TrunkOutput(ModelOutput):
    """What the trunk computes.

    Attributes:
        last_hidden_state: [B, T, E], after the last layer norm.
        past_key_values: the cache, if one is used.
        hidden_states: L + 1 tensors [B, T, E]: after the embeddings, between the blocks, and last.
        attentions: L tensors [B, H, T, S], after softmax, dropout and head mask.
        cross_attentions: L tensors [B, H, T, tokens of the encoder].
    """

    last_hidden_state: Tensor
    past_key_values: KeyValueCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class CausalLMOutput(ModelOutput):
    """What GPTBigCodeForCausalLM computes; the other fields as in `TrunkOutput`.

    Attributes:
        loss: scalar, if labels were given.
        logits: [B, T or fewer, V].
    """

    loss: Tensor | None
    logits: Tensor
    past_key_values: KeyValueCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class SequenceClassifierOutput(ModelOutput):
    """What GPTBigCodeForSequenceClassification computes; logits are [B, labels]."""

    loss: Tensor | None
    logits: Tensor
    past_key_values: KeyValueCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class TokenClassifierOutput(ModelOutput):
    """What GPTBigCodeForTokenClassification computes; logits are [B, T, labels]."""

    loss: Tensor | None
    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
