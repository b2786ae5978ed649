"""How the answers of `infill` are shown: alone, as the whole file, or as a unified diff."""

from dataclasses import dataclass
from typing import ClassVar

from bigcode_cli.commands.complete.command import Presenter
from bigcode_cli.commands.infill.cursor import Place
from bigcode_cli.commands.infill.diff import difference
from bigcode_cli.commands.infill.options import Shown


@dataclass(frozen=True, kw_only=True)
class InfillPresenter(Presenter):
    """Shows the answers to one gap.

    Attributes:
        place: the gap.
        shown: what of an answer is written.
    """

    around_gap: ClassVar[bool] = True

    place: Place
    shown: Shown

    @property
    def _before(self) -> bytes:
        return self.place.before if self.shown is Shown.FILE else b""

    @property
    def _after(self) -> bytes:
        return self.place.after if self.shown is Shown.FILE else b""

    def _all_dropped(self, _read: int, dropped: int) -> int:
        """No part of either side was skipped."""
        return dropped

    def _shown(self, text: str) -> bytes:
        if self.shown is Shown.DIFF and self.place.data is not None:
            name = str(self.place.source.path or "stdin")
            # An empty answer is no change, even if there is a marker in the gap.
            return difference(name, self.place, text) if text else b""
        return super()._shown(text)

    def _whole(self, shown: bytes) -> bytes:
        """A diff has whole lines; an empty one stays empty."""
        return shown if self.shown is Shown.DIFF else super()._whole(shown)
