"""Rows of ids that wait to be computed together with others of their length; knows no text.

Whatever is computed together, every row gets its own result, and results come in the order of rows.
"""

from collections.abc import Callable, Iterator, Sequence

from gpt_bigcode.backends.interfaces import Logits

Rows = Sequence[Sequence[int]]
_SORTED_BATCHES = 4  # so many are collected, so that rows of similar length meet


class RowPool:
    """Collects rows until they are worth computing."""

    def __init__(self, compute: Callable[[Rows], list[Logits]], batch_tokens: int) -> None:
        """Start empty.

        Args:
            compute: gives a result for each of the rows.
            batch_tokens: how many tokens it takes at best, padding counted.
        """
        self._compute = compute
        self._batch_tokens = batch_tokens
        self._waiting: list[tuple[Sequence[int], Callable[[Logits], None]]] = []
        self._tokens = 0

    @property
    def full(self) -> bool:
        """Whether enough waits."""
        return self._tokens >= _SORTED_BATCHES * self._batch_tokens

    def add(self, row: Sequence[int], receive: Callable[[Logits], None]) -> None:
        """Take a row; `receive` is given its result."""
        self._waiting.append((row, receive))
        self._tokens += len(row)

    def flush(self) -> None:
        """Compute everything that waits, and hand out the results in the order of the rows."""
        waiting, self._waiting, self._tokens = self._waiting, [], 0
        results: dict[int, Logits] = {}
        for batch in self._batches([len(row) for row, _ in waiting]):
            computed = self._compute([waiting[place][0] for place in batch])
            results.update(zip(batch, computed, strict=True))
        for place, (_, receive) in enumerate(waiting):
            receive(results[place])

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Places of rows that are computed together, the longest first."""
        order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
        while order:
            count = max(self._batch_tokens // max(lengths[order[0]], 1), 1)
            yield order[:count]
            order = order[count:]
