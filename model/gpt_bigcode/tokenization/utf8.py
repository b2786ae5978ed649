"""Which tokens may follow so that the bytes of a text stay well-formed UTF-8.

The automaton is that of the Unicode standard (table 3-7, well-formed byte sequences). Its state is
what the next bytes must be; tokens are sorted into classes once, so that a step looks none up.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

Ids = tuple[int, ...]
_CONTINUATION = range(0x80, 0xC0)
_LONGEST_REST = 3  # bytes of an unfinished character


class State(NamedTuple):
    """Inside a character: the next byte is low .. high, then `more` continuation bytes follow."""

    low: int
    high: int
    more: int


def _leads() -> dict[int, State]:
    """The state after each byte that begins a character of several bytes."""
    leads = {byte: State(0x80, 0xBF, 0) for byte in range(0xC2, 0xE0)}
    leads |= {byte: State(0x80, 0xBF, 1) for byte in range(0xE1, 0xF0)}
    leads |= {0xE0: State(0xA0, 0xBF, 1), 0xED: State(0x80, 0x9F, 1)}
    leads |= {byte: State(0x80, 0xBF, 2) for byte in range(0xF1, 0xF4)}
    return leads | {0xF0: State(0x90, 0xBF, 2), 0xF4: State(0x80, 0x8F, 2)}


_LEADS = _leads()
STATES: tuple[State, ...] = tuple(sorted({*_LEADS.values(), State(0x80, 0xBF, 0)}))
"""Every state inside a character; None is the one between two characters."""
_DEAD = State(0, 0, 0)


def advance(state: State | None, data: bytes) -> State | None:
    """The state after more bytes; None between characters.

    Raises:
        ValueError: no well-formed text goes on so.
    """
    for byte in data:
        if state is not None:
            low, high, more = state
            if not low <= byte <= high:
                raise ValueError("ill-formed UTF-8")
            state = State(0x80, 0xBF, more - 1) if more else None
        elif byte in _LEADS:
            state = _LEADS[byte]
        elif byte >= 0x80:
            raise ValueError("ill-formed UTF-8")
    return state


def state_after(tail: bytes) -> State | None:
    """The state after a text, by its last three bytes or more; None if they are not well-formed."""
    for place in range(1, min(len(tail), _LONGEST_REST) + 1):
        byte = tail[-place]
        if byte not in _CONTINUATION:
            try:
                return advance(None, tail[-place:])
            except ValueError:
                return None
    return None


@dataclass(frozen=True)
class Utf8Tokens:
    """The classes of a vocabulary's tokens.

    Attributes:
        refused: ids that may not follow a whole character.
        allowed: for each state inside a character, the only ids that may follow. A state from which
            the vocabulary cannot finish the character has none, and no token leads there.
    """

    refused: Ids
    allowed: Mapping[State, Ids]

    @classmethod
    def of(cls, spellings: Sequence[bytes]) -> "Utf8Tokens":
        """Sort tokens, given the bytes of each by id; those without bytes only end a text."""
        # Few tokens are not ASCII; of these, those that begin with a continuation byte can only
        # stand inside a character, all others only between two.
        special = [(token, data) for token, data in enumerate(spellings) if not data.isascii()]
        inner = [(token, data) for token, data in special if data[0] in _CONTINUATION]
        follows = {state: _transitions(state, inner) for state in STATES}
        live = _live_states(follows)
        allowed = {
            state: tuple(sorted(t for t, after in tokens.items() if after in live))
            for state, tokens in follows.items()
        }
        between = _transitions(None, special)
        refused = tuple(t for t, _ in special if between.get(t, _DEAD) not in live)
        return cls(refused, allowed)


def _transitions(
    state: State | None, tokens: Iterable[tuple[int, bytes]]
) -> dict[int, State | None]:
    """The state after each token that may follow."""
    found = {}
    for token, data in tokens:
        with suppress(ValueError):
            found[token] = advance(state, data)
    return found


def _live_states(follows: Mapping[State, Mapping[int, State | None]]) -> set[State | None]:
    """The states from which some tokens lead out of the character."""
    before: dict[State | None, set[State]] = defaultdict(set)
    for state, tokens in follows.items():
        for reached in tokens.values():
            before[reached].add(state)
    live: set[State | None] = set()
    waiting: list[State | None] = [None]
    while waiting:
        after = waiting.pop()
        if after not in live:
            live.add(after)
            waiting += before[after]
    return live
