"""All windows of a sequence of known length, at once or while it grows."""

from collections.abc import Sequence

from gpt_bigcode.windowing.document_stream import Window, Windows


def windows_of(plan: Windows, length: int) -> list[Window]:
    return _cut(plan, [length])


def grown(plan: Windows, length: int, portion: int) -> list[Window]:
    """The same while the sequence becomes known in portions."""
    return _cut(plan, [*range(0, length, portion), length, length])


def _cut(plan: Windows, lengths: Sequence[int]) -> list[Window]:
    """The windows while more becomes known; the last length is the whole one."""
    windows: list[Window] = []
    for step, known in enumerate(lengths, start=1):
        before = windows[-1] if windows else None
        while window := plan.next(before, known, ended=step == len(lengths)):
            assert window.stop <= known
            windows.append(window)
            before = window
    return windows
