"""How the parameters of a new model start; knows no forward pass.

Source: the reference implementation, which scales the residual projections as GPT-2 does.
"""

import math

from torch import nn

from gpt_bigcode.config import GPTBigCodeConfig


def initialize(module: nn.Module, config: GPTBigCodeConfig) -> None:
    """Fill one module's own parameters; for `nn.Module.apply`, which visits children first."""
    residual = getattr(module, "c_proj", None)
    if isinstance(residual, nn.Linear):
        deviation = config.initializer_range / math.sqrt(2 * config.n_layer)
        nn.init.normal_(residual.weight, std=deviation)
    elif isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=config.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
