"""Checks of what a forward pass is given; knows no layer.

They turn torch's errors about sizes and indices into `InputError`s that name the argument.
"""

import torch
from torch import Tensor, nn

from gpt_bigcode.errors import InputError


def check_shape(name: str, value: Tensor | None, *allowed: tuple[int, ...]) -> None:
    """Refuse a tensor of any shape but those.

    Raises:
        InputError: it is named, with its shape.
    """
    if value is not None and tuple(value.shape) not in allowed:
        wanted = " or ".join(str(list(shape)) for shape in allowed)
        raise InputError(f"{name}: shape {list(value.shape)} is not {wanted}")


def look_up(name: str, table: nn.Embedding, ids: Tensor) -> Tensor:
    """The rows of a table, [..., E].

    Raises:
        InputError: an id that is no integer, or that the table does not have. On a GPU nobody looks
            for the latter, because that would wait for it.
    """
    if ids.dtype not in (torch.int64, torch.int32):
        raise InputError(f"{name}: {ids.dtype} are not integers")
    try:
        return table(ids)  # type: ignore[no-any-return]
    except IndexError:
        raise InputError(f"{name}: not all in 0..{table.num_embeddings - 1}") from None
