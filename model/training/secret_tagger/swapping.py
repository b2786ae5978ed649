"""Replaces values that stand in real code by made-up findings: the most natural places there are.

Knows the text and nothing of files. Test addresses, hosts, passwords and authors become findings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from training.secret_tagger.planting import Draw, Finding, Planted, slot_value

if TYPE_CHECKING:
    from collections.abc import Callable

_SWAPS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("EMAIL", re.compile(r"()([\w.+-]+@(?:[\w-]+\.)*example\.\w+|<EMAIL>)")),
    ("KEY", re.compile(r"()(<KEY>)")),
    (
        "KEY",
        re.compile(
            r"((?:api_?key|secret(?:_key)?|access_?token|auth_?token|client_secret|private_key)"
            r"[\"']?\]?\s*[:=]\s*)[\"']([\w.+/-]{3,60})[\"']",
            re.IGNORECASE,
        ),
    ),
    (
        "PASSWORD",
        re.compile(
            r"((?:passw(?:or)?d|pwd|passphrase)[\"']?\]?\s*[:=]\s*)[\"'](\w[^\s\"'{}%$<>\\]{2,40})[\"']",
            re.IGNORECASE,
        ),
    ),
    (
        "USERNAME",
        re.compile(
            r"(\b(?:user(?:_?name)?|login|owner)[\"']?\]?\s*[:=]\s*)[\"']([\w.-]{3,24})[\"']",
            re.IGNORECASE,
        ),
    ),
    ("USERNAME", re.compile(r"((?:/home/|/Users/|\\Users\\))([a-z][\w.-]{1,20})(?=[/\\])")),
    (
        "IP_ADDRESS",
        re.compile(
            r"()(?<![\w.])(127\.0\.0\.1|0\.0\.0\.0|192\.168\.\d+\.\d+|10\.\d+\.\d+\.\d+)(?![\w.])"
        ),
    ),
    ("NAME", re.compile(r"(__author__\s*=\s*)[\"']([^\"'<>,]{5,40})[\"']")),
    (
        "NAME",
        re.compile(
            r"((?:#|:|@)\s*[Aa]uthors?:?\s+)()([A-Z][a-z]+ [A-Z][a-z]+)(?=\s*$)", re.MULTILINE
        ),
    ),
)
SWAP_SHARE = 0.5
Choice = tuple[int, int, str]


def swapped(planted: Planted, draw: Draw, share: float = SWAP_SHARE) -> Planted:
    """The text with a share of its replaceable values replaced."""
    chosen = _choices(planted.text, draw, share)
    text, findings, done = "", [], 0
    shifts: list[tuple[int, int]] = []
    for start, end, label in chosen:
        text += planted.text[done:start]
        value, found = slot_value(label, draw, optional=False)
        if found:
            findings.append(Finding(len(text), len(text) + len(value), found))
        text += value
        done = end
        shifts.append((end, len(text) - end))
    text += planted.text[done:]
    moved = _mover(shifts)
    doubtful = tuple((moved(low), moved(high)) for low, high in planted.doubtful)
    return Planted(text, tuple(findings), doubtful)


def _choices(text: str, draw: Draw, share: float) -> list[Choice]:
    """Disjoint places to replace, in order; what must not stay (<KEY>, <EMAIL>) always."""
    found: list[Choice] = []
    for label, pattern in _SWAPS:
        for match in pattern.finditer(text):
            start, end = match.span(match.lastindex or 0)
            forced = text[start:end] in {"<KEY>", "<EMAIL>"}
            if forced or draw.generator.random() < share:
                found.append((start, end, label))
    kept: list[Choice] = []
    for choice in sorted(found):
        if not kept or choice[0] >= kept[-1][1]:
            kept.append(choice)
    return kept


def _mover(shifts: list[tuple[int, int]]) -> Callable[[int], int]:
    """Where a place of the old text is in the new one."""

    def moved(place: int) -> int:
        shift = 0
        for start, value in shifts:
            if start > place:
                break
            shift = value
        return place + shift

    return moved
