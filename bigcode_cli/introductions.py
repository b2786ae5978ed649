"""What a person at a terminal is told when the built-in model was chosen for them.

Knows no option but -m and no command but `models pull`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from bigcode_cli.output import Notes

LARGER: Mapping[str, str] = MappingProxyType({"pocket-coder": "tiny_starcoder_py"})
"""Short name of the next larger model for the same commands; no known one of the family labels."""


def introduce(built_in: str, notes: Notes) -> None:
    """Name the model and the way to a larger one; nothing is said in a pipe or with --quiet."""
    larger = LARGER.get(built_in)
    way = "another: bigcode models pull OWNER/NAME, then -m OWNER/NAME"
    if larger is not None:
        way = f"a larger one: bigcode models pull {larger}, then -m {larger}"
    notes.remark(f"using the small built-in model {built_in}; {way}")
