"""Sentinels of other models in raw prompts: which part of a prompt is prefix, suffix and middle.

Clients write the sentinels of the model that they know into the prompt's text. They are recognized
here, so that the loaded model gets its own, by token id.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SPELLINGS: tuple[tuple[str, str, str], ...] = (
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # noqa: RUF001  # DeepSeek's own
    ("<|fim▁begin|>", "<|fim▁hole|>", "<|fim▁end|>"),
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
    ("<PRE>", "<SUF>", "<MID>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ("[PREFIX]", "[SUFFIX]", "[MIDDLE]"),
)
"""Prefix, suffix, middle: StarCoder, SantaCoder, Qwen and CodeGemma, DeepSeek, GLM, CodeLlama,
Codestral. Codestral has no middle; DeepSeek's hole is where its suffix begins."""


@dataclass(frozen=True)
class Gap:
    """A prompt with sentinels: the sides of the gap, and the order they came in."""

    prefix: str
    suffix: str
    order: str


def split_gap(prompt: str) -> Gap | None:
    """Read the sentinels of a raw prompt; None: there are none, or they make no gap."""
    for before, after, middle in _SPELLINGS:
        if before not in prompt or after not in prompt:
            continue
        found = _read(prompt, (before, after, middle))
        if found is not None:
            return found
    return None


def _read(prompt: str, names: tuple[str, str, str]) -> Gap | None:
    """Only the last occurrence of a sentinel counts: an earlier one is text, as in this file."""
    before, after, middle = names
    pattern = "|".join(map(re.escape, names))
    pieces = re.split(f"({pattern})", prompt)
    order = tuple(pieces[1::2])
    blank = " " if before == "<PRE>" else ""  # CodeLlama's sentinels bring blanks along
    texts = [piece.strip(blank) if blank else piece for piece in pieces[2::2]]
    head = pieces[0]
    if order == (before, after, middle) and not texts[2]:
        return Gap(head + texts[0], texts[1], "psm")
    if order == (before, after, middle):  # SPM as StarCoder has it: PRE SUF suffix MID prefix
        return Gap(head + texts[2], texts[1], "spm") if not texts[0] else None
    if order == (after, before, middle) and not texts[2]:  # the other SPM
        return Gap(head + texts[1], texts[0], "spm")
    if order == (after, before):  # Codestral
        return Gap(head + texts[1], texts[0], "psm")
    return None


def special_parts(prompt: str, special_ids: Mapping[str, int]) -> Sequence[str | int] | None:
    """A raw prompt as text and ids of the model's own control tokens; None: it has none."""
    if not special_ids:
        return None
    names = sorted(special_ids, key=len, reverse=True)
    pieces = re.split(f"({'|'.join(map(re.escape, names))})", prompt)
    parts = [special_ids.get(piece, piece) for piece in pieces if piece]
    return parts if any(isinstance(part, int) for part in parts) else None
