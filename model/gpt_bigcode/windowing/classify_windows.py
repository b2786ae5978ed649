"""How a text to classify is cut: windows side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpt_bigcode.windowing.document_stream import Window


@dataclass(frozen=True)
class ClassifyWindows:
    """Windows that do not overlap (see `document_stream.Windows`).

    The last two share what is left, so that none is shorter than half a window.
    """

    context_length: int

    @property
    def start_ids(self) -> Sequence[int]:
        """See `document_stream.Windows`."""
        return ()

    @property
    def history(self) -> int:
        """See `document_stream.Windows`."""
        return 0

    def row(self, ids: Sequence[int]) -> Sequence[int]:
        """See `document_stream.Windows`."""
        return ids

    def next(self, before: Window | None, known: int, *, ended: bool) -> Window | None:
        """See `document_stream.Windows`."""
        start = 0 if before is None else before.stop
        waiting, size = known - start, self.context_length
        if waiting <= 2 * size:
            if not ended or not waiting:
                return None
            size = waiting if waiting <= size else (waiting + 1) // 2
        return Window(start, start + size, start, start + size)
