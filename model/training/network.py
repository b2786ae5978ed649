"""The training-only forward pass and loss over the library's own module, written for speed.

Exact: a test compares it with `GPTBigCodeForCausalLM`. The
loss forms its gradient chunk by chunk, so that the logits of a batch never exist at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
    from gpt_bigcode.modeling.transformer import GPTBigCodeModel

    BlockForward = Callable[[Tensor, dict[str, Tensor], int], Tensor]

# On a processor the logits of a part should stay in its last cache.
LOSS_CHUNK_TOKENS = {"cpu": 512, "cuda": 16_384}
# Keeps the logarithm of a probability that float32 rounds to zero finite.
_LEAST_PROBABILITY = 1e-38


def block_forward(hidden: Tensor, weights: dict[str, Tensor], heads: int) -> Tensor:
    """One multi-query block, [B, T, E] -> [B, T, E]; `weights` by their names inside the block."""
    batch, tokens, width = hidden.shape
    size = width // heads
    normed = F.layer_norm(hidden, (width,), weights["ln_1.weight"], weights["ln_1.bias"])
    projected = F.linear(normed, weights["attn.c_attn.weight"], weights["attn.c_attn.bias"])
    query, key, value = torch.split(projected, [width, size, size], dim=-1)
    query = query.view(batch, tokens, heads, size).transpose(1, 2)
    # One key head seen by all: a stride of 0, no copy.
    key, value = (part[:, None].expand(-1, heads, -1, -1) for part in (key, value))
    context = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    context = context.transpose(1, 2).flatten(2)
    hidden = hidden + F.linear(context, weights["attn.c_proj.weight"], weights["attn.c_proj.bias"])
    normed = F.layer_norm(hidden, (width,), weights["ln_2.weight"], weights["ln_2.bias"])
    inner = F.linear(normed, weights["mlp.c_fc.weight"], weights["mlp.c_fc.bias"])
    inner = F.gelu(inner, approximate="tanh")
    return hidden + F.linear(inner, weights["mlp.c_proj.weight"], weights["mlp.c_proj.bias"])


def trunk_forward(
    trunk: GPTBigCodeModel,
    ids: Tensor,
    positions: Tensor,
    *,
    block: BlockForward = block_forward,
    inputs: dict[int, Tensor] | None = None,
) -> Tensor:
    """What a head reads, [B, T, E], of ids [B, T] at positions [B, T] or [T].

    Args:
        trunk: a multi-query model.
        ids: of tokens.
        positions: of each.
        block: how one block is computed.
        inputs: gets what each block reads.
    """
    hidden = F.embedding(ids, trunk.wte.weight) + F.embedding(positions, trunk.wpe.weight)
    for layer, module in enumerate(trunk.h):
        if inputs is not None:
            inputs[layer] = hidden
        hidden = block(hidden, dict(module.named_parameters()), trunk.config.n_head)
    return F.layer_norm(hidden, hidden.shape[-1:], trunk.ln_f.weight, trunk.ln_f.bias)


class _ChunkedLoss(torch.autograd.Function):
    """Mean cross-entropy of a tied head; the gradient is made in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, table: Tensor, labels: Tensor, dtype: torch.dtype
    ) -> Tensor:
        rows, columns = hidden.to(dtype), table.to(dtype)
        grad_hidden = torch.empty_like(hidden)
        grad_table = torch.zeros_like(table)
        loss = hidden.new_zeros((), dtype=torch.float32)
        size = LOSS_CHUNK_TOKENS[hidden.device.type]
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            wanted = labels[part, None]
            # One pass gives the probabilities; what is subtracted there keeps them in range.
            slope = (rows[part] @ columns.T).float().softmax(dim=-1)
            loss -= slope.gather(1, wanted).clamp_min(_LEAST_PROBABILITY).log().sum()
            slope.scatter_add_(1, wanted, slope.new_full((1, 1), -1.0).expand_as(wanted))
            slope = slope.to(dtype)
            grad_hidden[part] = slope @ columns
            if dtype == grad_table.dtype:
                grad_table.addmm_(slope.T, rows[part])
            else:
                grad_table += slope.T @ rows[part]
        ctx.save_for_backward(grad_hidden, grad_table)
        ctx.count = len(rows)
        return loss / len(rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_table = ctx.saved_tensors
        scale = grads[0] / ctx.count
        return grad_hidden * scale, grad_table * scale, None, None


_chunked_loss: Callable[[Tensor, Tensor, Tensor, torch.dtype], Tensor] = _ChunkedLoss.apply


class Network:
    """Runs the library's causal language model for training.

    `compiled=True` compiles one block (all layers share the code), which is quick to compile.
    """

    def __init__(self, model: GPTBigCodeForCausalLM, *, compiled: bool) -> None:
        config = model.config
        if not config.multi_query or config.activation_function != "gelu_pytorch_tanh":
            raise SystemExit("network: the recipe trains multi-query models with gelu_pytorch_tanh")
        self.model = model
        self.block: BlockForward = block_forward
        if compiled:
            self.block = torch.compile(block_forward, dynamic=False)

    def loss(self, rows: Tensor, positions: Tensor) -> Tensor:
        """Mean next-token loss in nats of rows [B, T + 1] that stand at positions [B, T]."""
        return self.loss_of(self.hidden(rows, positions), rows)

    def hidden(
        self, rows: Tensor, positions: Tensor, inputs: dict[int, Tensor] | None = None
    ) -> Tensor:
        """What the head reads, [B, T, E]; what each block reads is put into `inputs`."""
        trunk = self.model.transformer
        return trunk_forward(trunk, rows[:, :-1], positions, block=self.block, inputs=inputs)

    def loss_of(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """The loss of what `hidden` gave for the same rows."""
        table = self.model.transformer.wte.weight
        device = hidden.device.type
        mixed = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if mixed else hidden.dtype
        with torch.autocast(device, enabled=False):
            return _chunked_loss(hidden.flatten(0, 1), table, rows[:, 1:].reshape(-1), dtype)
