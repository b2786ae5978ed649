"""A source that keeps the beginning of what was read from it, to be shown."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bigcode_cli.files.sources import Source

SHOWN_CHARACTERS = 10**6
"""Lines after this many characters of a file are not shown."""


@dataclass(frozen=True, kw_only=True)
class KeptSource(Source):
    """A source that keeps the beginning of what was read from it last."""

    held: list[str] = field(default_factory=list)

    def pieces(self, read: Callable[[int], None]) -> Iterator[str]:
        """See `Source`."""
        self.held.clear()
        size = 0
        for piece in super().pieces(read):
            if size < SHOWN_CHARACTERS:
                self.held.append(piece)
            size += len(piece)
            yield piece

    def take(self) -> str:
        """Hand over what was kept."""
        text = "".join(self.held)[:SHOWN_CHARACTERS]
        self.held.clear()
        return text


def keep_text(source: Source) -> KeptSource:
    """The same source, with a memory."""
    return KeptSource(**vars(source))
