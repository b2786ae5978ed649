"""What a person at a terminal is told when the built-in model was chosen for them.

Knows no option but -m and no command but `models pull`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from bigcode_cli.output import Notes

LARGER: Mapping[str, str] = MappingProxyType({"pocket-coder": "bigcode/tiny_starcoder_py"})
"""The next larger model for the same commands; the family has no known one that labels."""


def introduce(built_in: str, notes: Notes) -> None:
    """Name the model and the way to a larger one; nothing is said in a pipe or with --quiet."""
    larger = LARGER.get(built_in)
    way = "-m chooses another, `bigcode models pull OWNER/NAME` fetches one"
    if larger is not None:
        way = f"`bigcode models pull {larger}` fetches a larger one for -m {larger}"
    notes.remark(f"using the small built-in model {built_in}; {way}")
