"""The trunk of GPTBigCode in PyTorch, top-down: model, block, attention, feed-forward.

Shapes: B batch, T new tokens, S tokens seen (cached and new), H heads, K key/value heads, D head
size, E width, L layers. Source of the behaviour: the reference implementation (transformers'
GPTBigCode), which follows the SantaCoder paper (arXiv 2301.03988). Parameters carry the reference's
names, so a checkpoint's state dict is ours. Where its versions differ, positions are derived from
the attention mask (as in 4.34 and in every version's `generate`).
"""

from functools import partial

import torch
from torch import Tensor, nn

from gpt_bigcode.config import ACTIVATIONS, GPTBigCodeConfig
from gpt_bigcode.errors import ContextError, InputError, UnsupportedModelError
from gpt_bigcode.modeling.activations import FUNCTIONS, check_shape, initialize, look_up
from gpt_bigcode.modeling.attention import (
    Attention,
    AttentionMask,
    AttentionSettings,
    ExplicitAttention,
    causal_mask,
    fused_attention,
)
from gpt_bigcode.modeling.context import EncoderStates, ForwardPass
from gpt_bigcode.modeling.kv_cache import KeyValueCache
from gpt_bigcode.modeling.outputs import TrunkOutput


class GPTBigCodeModel(nn.Module):
    """The trunk: embeddings, blocks, last layer norm."""

    def __init__(self, config: GPTBigCodeConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(GPTBigCodeBlock(config, layer) for layer in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.apply(partial(initialize, config=config))

    def forward(  # noqa: PLR0913 - the reference's arguments
        self,
        input_ids: Tensor | None = None,
        past_key_values: KeyValueCache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        *,
        use_cache: bool | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        wanted_tokens: Tensor | None = None,
    ) -> TrunkOutput:
        """Run the trunk.

        Args:
            input_ids: [B, T], the tokens after those in `past_key_values`.
            inputs_embeds: [B, T, E], instead of `input_ids`.
            past_key_values: the cache of the preceding tokens; it is extended in place.
            attention_mask: [B, S], 0 for padding; left and right padding alike.
            token_type_ids: [B, T], embedded by the token table, as in the reference.
            position_ids: [B, T] or [1, T]; default: counted over the mask.
            head_mask: [H] or [L, H], multiplied with the attention weights.
            encoder_hidden_states: [B, tokens, E], needs `add_cross_attention`.
            encoder_attention_mask: [B, tokens], 0 for padding.
            use_cache: return a cache; default: the configuration's, and never while training.
            output_attentions: return the attention weights.
            output_hidden_states: return the states between the blocks.
            wanted_tokens: [B], the index of one of the T tokens in each row; the last states are
                then those of that token alone, [B, 1, E], and the last layer computes no others.

        Raises:
            InputError: shapes or arguments that do not fit together.
            ContextError: more tokens than positions.
        """
        embeds = self._embed_tokens(input_ids, inputs_embeds, token_type_ids)
        batch, new, _ = embeds.shape
        wanted = self.config.use_cache and not self.training if use_cache is None else use_cache
        if past_key_values is None and wanted:
            past_key_values = KeyValueCache(
                self.config, batch, dtype=embeds.dtype, device=embeds.device, capacity=max(new, 1)
            )
        past = past_key_values.length if past_key_values is not None else 0
        positions = self._positions(position_ids, attention_mask, past, embeds)
        hidden = self.drop(embeds + look_up("position_ids", self.wpe, positions))
        explicit = output_attentions or head_mask is not None
        attention, cross_attention = self._choose_attention(head_mask, explicit=explicit)
        shared = ForwardPass(
            mask=self._mask(hidden, past, attention_mask),
            cache=past_key_values,
            attention=attention,
            encoder=self._encoder(encoder_hidden_states, encoder_attention_mask, cross_attention),
        )
        states: list[Tensor] = []
        for block in self.h:
            if output_hidden_states:
                states.append(hidden)
            if wanted_tokens is not None and block is self.h[-1]:
                shared = shared.only(wanted_tokens, new)
            hidden = block(hidden, shared)
        hidden = self.ln_f(hidden)
        if past_key_values is not None:
            past_key_values.advance(new)
        return TrunkOutput(
            last_hidden_state=hidden,
            past_key_values=past_key_values,
            hidden_states=(*states, hidden) if output_hidden_states else None,
            attentions=_weights(attention) if output_attentions else None,
            cross_attentions=_weights(cross_attention) or None if output_attentions else None,
        )

    def _embed_tokens(
        self, ids: Tensor | None, embeds: Tensor | None, token_types: Tensor | None
    ) -> Tensor:
        """[B, T, E], before positions are added."""
        if (ids is None) == (embeds is None):
            raise InputError("give exactly one of input_ids and inputs_embeds")
        tokens = embeds if ids is None else look_up("input_ids", self.wte, ids)
        if tokens is None or tokens.dim() != 3 or not tokens.shape[1]:
            raise InputError("expected at least one token, in the shape [B, T]")
        batch, new, width = *tokens.shape[:2], self.config.n_embd
        check_shape("inputs_embeds", tokens, (batch, new, width))
        check_shape("token_type_ids", token_types, (batch, new))
        if token_types is None:
            return tokens
        return tokens + look_up("token_type_ids", self.wte, token_types)

    def _positions(
        self, given: Tensor | None, mask: Tensor | None, past: int, embeds: Tensor
    ) -> Tensor:
        """[B or 1, T]: counted over the mask, so that padding takes no position."""
        batch, new, limit = *embeds.shape[:2], self.config.n_positions
        check_shape("position_ids", given, (batch, new), (1, new))
        check_shape("attention_mask", mask, (batch, past + new))
        if given is not None:
            positions = given
        elif mask is None:
            positions = torch.arange(past, past + new, device=embeds.device).unsqueeze(0)
        else:
            positions = (mask.long().cumsum(-1) - 1).clamp(min=0)[:, -new:]
        # Reading the values synchronizes a GPU, so it is done only where the length is no proof.
        if (given is not None or past + new > limit) and int(positions.max()) >= limit:
            raise ContextError(f"{int(positions.max()) + 1} positions, the model has {limit}")
        return positions

    def _mask(self, hidden: Tensor, past: int, padding: Tensor | None) -> AttentionMask:
        """The causal triangle and the padding for all layers, as a tensor only where needed."""
        new, seen = hidden.shape[1], past + hidden.shape[1]
        if padding is None or bool(padding.all()):
            if new == 1 or not past:
                return AttentionMask(causal=new > 1)
            return AttentionMask(causal_mask(new, seen, hidden.device))
        allowed = causal_mask(new, seen, hidden.device) & padding.bool()[:, None, None, :]
        # A padding token attends to itself: softmax over nothing is NaN. Its result is unused.
        return AttentionMask(allowed | torch.ones_like(allowed[:1]).triu(past).tril(past))

    def _choose_attention(
        self, head_mask: Tensor | None, *, explicit: bool
    ) -> tuple[Attention, Attention]:
        """The functions that compute self-attention and cross-attention."""
        heads = (self.config.n_layer, self.config.n_head)
        check_shape("head_mask", head_mask, heads, heads[1:])
        if not explicit:
            return fused_attention, fused_attention
        factors = None if head_mask is None else head_mask.expand(heads)
        return ExplicitAttention(factors), ExplicitAttention(factors)

    def _encoder(
        self, states: Tensor | None, mask: Tensor | None, attention: Attention
    ) -> EncoderStates | None:
        if states is None:
            return None
        if self.config.multi_query:
            raise UnsupportedModelError("encoder_hidden_states: not defined for multi_query")
        if not self.config.add_cross_attention:
            raise InputError("encoder_hidden_states: the model has no cross-attention layers")
        check_shape("encoder_hidden_states", states, (*states.shape[:2], self.config.n_embd))
        check_shape("encoder_attention_mask", mask, tuple(states.shape[:2]))
        allowed = None if mask is None else mask.bool()[:, None, None, :]
        return EncoderStates(states=states, mask=AttentionMask(allowed), attention=attention)


def _weights(attention: Attention) -> tuple[Tensor, ...]:
    return tuple(attention.weights) if isinstance(attention, ExplicitAttention) else ()


class GPTBigCodeBlock(nn.Module):
    """Attention and feed-forward, each after a layer norm and added to its input."""

    def __init__(self, config: GPTBigCodeConfig, layer: int) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, config.n_embd, eps=config.layer_norm_epsilon)
        self.ln_1 = norm()
        self.attn = GPTBigCodeAttention(config, layer)
        self.ln_2 = norm()
        if config.add_cross_attention:
            self.crossattention = GPTBigCodeCrossAttention(config, layer)
            self.ln_cross_attn = norm()
        self.mlp = GPTBigCodeMLP(config)

    def forward(self, hidden: Tensor, shared: ForwardPass) -> Tensor:
        """[B, T, E] -> [B, T, E], or [B, 1, E] of the wanted tokens."""
        hidden = shared.select(hidden) + self.attn(self.ln_1(hidden), shared)
        if shared.encoder is not None:
            hidden = hidden + self.crossattention(self.ln_cross_attn(hidden), shared.encoder)
        return hidden + self.mlp(self.ln_2(hidden))  # type: ignore[no-any-return]


class GPTBigCodeAttention(nn.Module):
    """Self-attention, multi-query or multi-head.

    The outputs of `c_attn` are [q | k | v] head by head for multi-head; for multi-query they are
    the queries of all heads, then one key and one value.
    """

    def __init__(self, config: GPTBigCodeConfig, layer: int) -> None:
        super().__init__()
        self.settings = AttentionSettings.of(config, layer)
        self.heads, self.kv_heads, self.head_dim = config.n_head, config.kv_heads, config.head_dim
        width = config.n_embd
        self.c_attn = nn.Linear(width, width + 2 * config.kv_heads * config.head_dim)
        self.c_proj = nn.Linear(width, width)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, hidden: Tensor, shared: ForwardPass) -> Tensor:
        """[B, T, E] -> [B, T, E], or [B, 1, E] of the wanted tokens."""
        query, key, value = self._project(hidden)
        key, value = shared.extend(self.settings.layer, key, value)
        query = shared.select(query.transpose(1, 2)).transpose(1, 2)
        heads = shared.attention(
            query, key, value, shared.mask, self.settings, training=self.training
        )
        merged = heads.transpose(1, 2).flatten(2)
        return self.resid_dropout(self.c_proj(merged))  # type: ignore[no-any-return]

    def _project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [B, H, T, D], keys and values [B, K, T, D]."""
        batch, new, width = hidden.shape
        projected = self.c_attn(hidden)
        if self.kv_heads == 1:
            query, key, value = projected.split((width, self.head_dim, self.head_dim), dim=-1)
            query = query.view(batch, new, self.heads, self.head_dim)
            return query.transpose(1, 2), key.unsqueeze(1), value.unsqueeze(1)
        per_head = projected.view(batch, new, self.heads, 3 * self.head_dim).transpose(1, 2)
        query, key, value = per_head.split(self.head_dim, dim=-1)
        return query, key, value


class GPTBigCodeCrossAttention(nn.Module):
    """Attention to an encoder's states, multi-head only.

    The outputs of `c_attn` are [k | v] head by head (the reference's own split fails for more than
    one head).
    """

    def __init__(self, config: GPTBigCodeConfig, layer: int) -> None:
        super().__init__()
        self.settings = AttentionSettings.of(config, layer)
        self.heads, self.head_dim = config.n_head, config.head_dim
        self.q_attn = nn.Linear(config.n_embd, config.n_embd)
        self.c_attn = nn.Linear(config.n_embd, 2 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, hidden: Tensor, encoder: EncoderStates) -> Tensor:
        """[B, T, E] -> [B, T, E]."""
        query = self.q_attn(hidden).unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)
        key_value = self.c_attn(encoder.states).unflatten(-1, (self.heads, 2 * self.head_dim))
        key, value = key_value.transpose(1, 2).split(self.head_dim, dim=-1)
        heads = encoder.attention(
            query, key, value, encoder.mask, self.settings, training=self.training
        )
        merged = heads.transpose(1, 2).flatten(2)
        return self.resid_dropout(self.c_proj(merged))  # type: ignore[no-any-return]


class GPTBigCodeMLP(nn.Module):
    """The feed-forward half of a block."""

    def __init__(self, config: GPTBigCodeConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, config.inner_dim)
        self.c_proj = nn.Linear(config.inner_dim, config.n_embd)
        self.act = FUNCTIONS[ACTIVATIONS[config.activation_function]]
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, T, E] -> [B, T, E]."""
        return self.dropout(self.c_proj(self.act(self.c_fc(hidden))))  # type: ignore[no-any-return]
