"""A text that is scored, classified or tagged, on both sides of the connection."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class JudgedText:
    """A text, and the lines that are wanted of it; None: all."""

    text: str
    lines: Sequence[range] | None = None

    def fields(self) -> dict[str, Any]:
        """The text as a request has it."""
        if self.lines is None:
            return {"text": self.text}
        return {"text": self.text, "lines": [[one.start, one.stop] for one in self.lines]}

    def document(self) -> Iterable[str]:
        """The text as the library takes it."""
        if self.lines is None:
            return [self.text]
        from gpt_bigcode.windowing.document_stream import Excerpt

        return Excerpt([self.text], self.lines)
