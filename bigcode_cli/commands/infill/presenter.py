"""How the answers of `infill` are shown: alone, as the whole file, or as a unified diff.

Knows nothing of how they were asked for, and writes no file.
"""

from dataclasses import dataclass
from difflib import diff_bytes, unified_diff
from typing import ClassVar

from bigcode_cli.commands.complete.presenter import Presenter
from bigcode_cli.commands.infill.cursor import Place
from bigcode_cli.commands.infill.options import Shown
from bigcode_cli.framework.output import safe

_NO_NEWLINE = b"\n\\ No newline at end of file\n"


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
        """Both sides were given to the model as a whole."""
        return dropped

    def _shown(self, text: str) -> bytes:
        if self.shown is Shown.DIFF and self.place.data is not None:
            name = str(self.place.source.path or "stdin")
            # Nothing written is no change, even if a marker stands in the gap.
            return difference(name, self.place.data, self.place.filled(text)) if text else b""
        return super()._shown(text)

    def _whole(self, shown: bytes) -> bytes:
        """A diff has whole lines; an empty one stays empty."""
        return shown if self.shown is Shown.DIFF else super()._whole(shown)


def difference(name: str, old: bytes, new: bytes) -> bytes:
    """The change as a unified diff that `patch -p0` and `git apply -p0` accept."""
    shown = safe(name)
    # As git does it: without a tab a name ends at the first blank.
    header = shown.encode() + (b"\t" if " " in shown else b"")
    lines = diff_bytes(unified_diff, _lines(old), _lines(new), header, header)
    return b"".join(line if line.endswith(b"\n") else line + _NO_NEWLINE for line in lines)


def _lines(data: bytes) -> list[bytes]:
    """Lines that end with LF, so that a carriage return is a character like any other."""
    return [line + b"\n" for line in data.split(b"\n")[:-1]] + [
        line for line in data.split(b"\n")[-1:] if line
    ]
