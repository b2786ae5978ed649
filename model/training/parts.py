"""Gradients of a batch, computed in parts that fit the processor's cache, one thread a part.

An operation that is split over two threads waits for the slower one, so a core that another program
borrows stalls all of it. A thread that runs whole parts delays only its own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class PartedGradients:
    """Adds the gradients of a batch's parts up in the parameters' `grad`."""

    def __init__(
        self, loss: Callable[[Tensor, Tensor], Tensor], *, threads: int, part_tokens: int
    ) -> None:
        """Start the threads.

        Args:
            loss: mean loss of rows [B, T + 1] at positions [B, T]; called in the threads.
            threads: how many parts are computed at once.
            part_tokens: tokens of a part, rounded down to whole rows; 0: the batch is one part.
        """
        self._loss, self._part_tokens = loss, part_tokens
        self._pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def compute(self, parameters: Sequence[Tensor], rows: Tensor, positions: Tensor) -> float:
        """The batch's mean loss in nats; its gradient is added to `grad`.

        The parts are added in their order, so the result does not depend on the threads.
        """
        each = max(1, self._part_tokens // positions.shape[1]) if self._part_tokens else len(rows)
        parts = zip(torch.split(rows, each), torch.split(positions, each), strict=True)

        def gradients(part: tuple[Tensor, Tensor]) -> tuple[float, tuple[Tensor, ...]]:
            loss = self._loss(*part) * (len(part[0]) / len(rows))
            return float(loss.detach()), torch.autograd.grad(loss, parameters)

        total = 0.0
        for loss, found in self._pool.map(gradients, parts):
            total += loss
            for parameter, gradient in zip(parameters, found, strict=True):
                if parameter.grad is None:
                    parameter.grad = gradient
                else:
                    parameter.grad += gradient
        return total

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)
