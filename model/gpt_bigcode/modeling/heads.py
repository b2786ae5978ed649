"""The trunk with a head: language model, sequence classifier, token classifier.

Source of the behaviour, losses included: the reference implementation (transformers' GPTBigCode).
"""

from functools import partial
from typing import TypedDict, Unpack

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from gpt_bigcode.config import GPTBigCodeConfig, ProblemType
from gpt_bigcode.errors import InputError
from gpt_bigcode.modeling.activations import check_shape, initialize
from gpt_bigcode.modeling.kv_cache import KeyValueCache
from gpt_bigcode.modeling.outputs import (
    CausalLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from gpt_bigcode.modeling.transformer import GPTBigCodeModel

IGNORED_LABEL = -100
_DEFAULT_CLASSIFIER_DROPOUT = 0.1


class TrunkArguments(TypedDict, total=False):
    """The arguments of `GPTBigCodeModel.forward` that every head passes on."""

    past_key_values: KeyValueCache | None
    attention_mask: Tensor | None
    token_type_ids: Tensor | None
    position_ids: Tensor | None
    head_mask: Tensor | None
    inputs_embeds: Tensor | None
    use_cache: bool | None
    output_attentions: bool
    output_hidden_states: bool


class DecoderArguments(TrunkArguments, total=False):
    """The arguments of a language model, which may attend to an encoder's states."""

    encoder_hidden_states: Tensor | None
    encoder_attention_mask: Tensor | None


class GPTBigCodeForCausalLM(nn.Module):
    """Trunk and language-model head; the head's weight is the token table unless untied."""

    def __init__(self, config: GPTBigCodeConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = GPTBigCodeModel(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        initialize(self.lm_head, config)
        self.tie_weights()

    def tie_weights(self) -> None:
        """Share the token table with the head, if the configuration ties them."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.transformer.wte.weight

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **trunk_arguments: Unpack[DecoderArguments],
    ) -> CausalLMOutput:
        """Run trunk and head; the other arguments are those of `GPTBigCodeModel.forward`.

        Args:
            input_ids: [B, T].
            labels: [B, T], the tokens themselves; they are shifted here, and -100 is ignored. The
                loss is the mean over the other tokens, in float32 (NaN if there are none).
            logits_to_keep: how many of the last positions (0: all), or positions as a 1-D tensor.
        """
        trunk = self.transformer(input_ids, **trunk_arguments)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(trunk.last_hidden_state[:, kept])
        return CausalLMOutput(
            loss=None if labels is None else language_model_loss(logits, labels),
            logits=logits,
            past_key_values=trunk.past_key_values,
            hidden_states=trunk.hidden_states,
            attentions=trunk.attentions,
            cross_attentions=trunk.cross_attentions,
        )


class GPTBigCodeForSequenceClassification(nn.Module):
    """Trunk and one score per label, taken at the last token that is not padding."""

    def __init__(self, config: GPTBigCodeConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = GPTBigCodeModel(config)
        self.score = nn.Linear(config.n_embd, config.label_count, bias=False)
        initialize(self.score, config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        **trunk_arguments: Unpack[TrunkArguments],
    ) -> SequenceClassifierOutput:
        """Run trunk and head; the other arguments are those of `GPTBigCodeModel.forward`.

        Args:
            input_ids: [B, T].
            labels: [B] classes, or [B] or [B, labels] numbers, by `problem_type`: mean squared
                error, cross-entropy, or binary cross-entropy per label. Without a problem_type:
                one label is a regression, integers are classes, other numbers multi-label.

        Raises:
            InputError: several rows, and neither a mask nor a padding token marks their ends.
        """
        trunk = self.transformer(input_ids, **trunk_arguments)
        hidden = trunk.last_hidden_state
        last = self._last_token(input_ids, trunk_arguments.get("attention_mask"), hidden)
        rows = torch.arange(hidden.shape[0], device=hidden.device)
        logits = self.score(hidden[rows, last])
        return SequenceClassifierOutput(
            loss=None if labels is None else sequence_loss(logits, labels, self.config),
            logits=logits,
            past_key_values=trunk.past_key_values,
            hidden_states=trunk.hidden_states,
            attentions=trunk.attentions,
        )

    def _last_token(self, ids: Tensor | None, mask: Tensor | None, hidden: Tensor) -> Tensor:
        """[B], the index of each row's last token, from the mask or else the padding token."""
        batch, new, _ = hidden.shape
        if mask is not None:
            real = mask[:, -new:].bool()
        elif ids is not None and self.config.pad_token_id is not None:
            real = ids != self.config.pad_token_id
        elif batch == 1 or ids is None:
            return torch.full((batch,), new - 1, device=hidden.device)
        else:
            raise InputError(
                "several rows need an attention_mask, or a pad_token_id in the configuration"
            )
        order = torch.arange(new, device=hidden.device)
        return (real * order).argmax(dim=-1)


class GPTBigCodeForTokenClassification(nn.Module):
    """Trunk and one score per label for every token."""

    def __init__(self, config: GPTBigCodeConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = GPTBigCodeModel(config)
        choices = (config.classifier_dropout, config.hidden_dropout, _DEFAULT_CLASSIFIER_DROPOUT)
        self.dropout = nn.Dropout(next(rate for rate in choices if rate is not None))
        self.classifier = nn.Linear(config.n_embd, config.label_count)
        self.classifier.apply(partial(initialize, config=config))

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        **trunk_arguments: Unpack[TrunkArguments],
    ) -> TokenClassifierOutput:
        """Run trunk and head; the other arguments are those of `GPTBigCodeModel.forward`.

        Args:
            input_ids: [B, T].
            labels: [B, T] classes; -100 is ignored. The loss is cross-entropy, for one label too.
        """
        trunk = self.transformer(input_ids, **trunk_arguments)
        logits = self.classifier(self.dropout(trunk.last_hidden_state))
        return TokenClassifierOutput(
            loss=None if labels is None else _cross_entropy(logits, labels),
            logits=logits,
            hidden_states=trunk.hidden_states,
            attentions=trunk.attentions,
        )


def language_model_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each next token, nats.

    Args:
        logits: [B, T, V].
        labels: [B, T], not shifted; -100 is ignored.

    Raises:
        InputError: logits of only some of the positions, or a label that is not a token id.
    """
    check_shape("labels", labels, tuple(logits.shape[:2]))
    return _cross_entropy(logits[:, :-1].float(), labels[:, 1:])


def sequence_loss(logits: Tensor, labels: Tensor, config: GPTBigCodeConfig) -> Tensor:
    """The loss of a sequence classifier by the problem's type.

    Args:
        logits: [B, labels].
        labels: see `GPTBigCodeForSequenceClassification.forward`.
        config: its `problem_type` and `num_labels` decide.

    Raises:
        InputError: labels of another shape, or a class out of range.
    """
    problem = config.problem_type or _guess_problem(labels, config.label_count)
    if problem == "regression":
        single = config.label_count == 1
        guess, truth = (logits.squeeze(), labels.squeeze()) if single else (logits, labels)
        check_shape("labels", truth, tuple(guess.shape))
        return F.mse_loss(guess, truth.to(guess.dtype))
    if problem == "single_label_classification":
        return _cross_entropy(logits, labels)
    check_shape("labels", labels, tuple(logits.shape))
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def _guess_problem(labels: Tensor, label_count: int) -> ProblemType:
    if label_count == 1:
        return "regression"
    whole = not labels.is_floating_point() and labels.dtype != torch.bool
    return "single_label_classification" if whole else "multi_label_classification"


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    rows, classes = logits.flatten(0, -2), labels.reshape(-1).long()
    check_shape("labels", classes, tuple(rows.shape[:1]))
    try:
        return F.cross_entropy(rows, classes, ignore_index=IGNORED_LABEL)
    except IndexError:
        raise InputError(f"labels: not all in 0..{rows.shape[1] - 1}") from None
