"""Tokens that may not come next, as rules of a `Sampler`.

- `Utf8Rule`: the text stays well-formed UTF-8 and never ends inside a character.
- `Healing`: the first tokens spell the bytes that were taken off the prompt.
- `LoopRule`: a line that repeats itself may not go on repeating.
- `FirstToken`: a new text may not end at once.

Each maps one row of logits, [V], and the tokens written so far to logits in which -inf marks the
tokens that are refused.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.generation.loop import FloatArray

Ids = tuple[int, ...]
_CONTINUATION = range(0x80, 0xC0)
_LONGEST_REST = 3  # bytes of an unfinished character
_LONGEST_PERIOD = 48
_COPIES = 4
_LEAST_BYTES = 80
# Two letters that differ: one letter over and over is a ruler.
_WORD = re.compile(rb"([A-Za-z])(?!\1)[A-Za-z]")


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
    """A vocabulary's tokens by where in a character they may come, computed once per tokenizer.

    The automaton is that of the Unicode standard (table 3-7, well-formed byte sequences); its state
    is what the next bytes must be.

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
        # come inside a character, all others only between two.
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


@dataclass(frozen=True)
class Utf8Rule:
    """Refuses tokens that would begin or continue an ill-formed sequence.

    Attributes:
        spellings: the bytes of every token by id; control tokens have none.
        tokens: their classes.
        before: the last bytes before the first token that is written.
    """

    spellings: Sequence[bytes]
    tokens: Utf8Tokens
    before: bytes = b""

    def __call__(self, logits: FloatArray, context_ids: Sequence[int]) -> FloatArray:
        """[V] -> [V]; `context_ids` are the tokens written so far."""
        state = self._state(context_ids)
        if state is None:
            if not len(self._refused):
                return logits
            masked = logits.copy()
            masked[self._refused] = -np.inf
            return masked
        allowed = np.asarray(self.tokens.allowed[state], np.intp)
        if not len(allowed):  # nothing in the vocabulary can finish the character
            return logits
        masked = np.full_like(logits, -np.inf)
        masked[allowed] = logits[allowed]
        return masked

    @cached_property
    def _refused(self) -> NDArray[np.intp]:
        return np.asarray(self.tokens.refused, np.intp)

    def _state(self, written: Sequence[int]) -> State | None:
        tail = b""
        for token in reversed(written):
            tail = (self.spellings[token] if token < len(self.spellings) else b"") + tail
            if len(tail) >= _LONGEST_REST:
                break
        else:
            tail = self.before + tail
        return state_after(tail)


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


@dataclass(frozen=True)
class Healing:
    """Token healing: the first tokens must spell `start`; they may go on beyond it.

    A byte-level BPE joins a line break with the indentation after it, and a name with the space
    before it. A prompt that ends with a line break therefore ends with a token that training saw
    at the end of files, and a model would end the text. So the prompt's last token is taken off,
    and the model spells its bytes again, by whatever tokens it finds likely.

    Attributes:
        start: the bytes that were taken off the prompt.
        spellings: the bytes of every token by id; control tokens have none.
    """

    start: bytes
    spellings: tuple[bytes, ...]

    def __call__(self, logits: FloatArray, context_ids: Sequence[int]) -> FloatArray:
        """[V] -> [V]; `context_ids` are the tokens written so far."""
        spelled = 0
        for token in context_ids:
            spelled += len(self.spellings[token])
            if spelled >= len(self.start):
                return logits
        rest = self.start[spelled:]
        fits = [
            token
            for token, bytes_ in enumerate(self.spellings)
            if bytes_ and (bytes_.startswith(rest) or rest.startswith(bytes_))
        ]
        healed = np.full_like(logits, -np.inf)
        healed[fits] = logits[fits]
        return healed


@dataclass(frozen=True)
class LoopRule:
    """Refuses the token that would add to what a line has four times in a row.

    The loop guard would cut the line there, in its middle; this way it can reach its end. Only
    copies with a word count, and only if they take 80 bytes or more together: rows of numbers and
    rulers may repeat. Loops of whole lines are left to the guard, which cuts them at a line's end.

    Attributes:
        spellings: the bytes of every token by id.
    """

    spellings: Sequence[bytes]

    def __call__(self, logits: FloatArray, context_ids: Sequence[int]) -> FloatArray:
        """[V] -> [V]; `context_ids` are the tokens written so far."""
        tail = list(context_ids[-_COPIES * _LONGEST_PERIOD :])
        refused = [
            tail[-period] for period, run in _loops(tail) if self._is_loop(tail, period, run)
        ]
        if not refused:
            return logits
        masked = logits.copy()
        masked[refused] = -np.inf
        return masked if np.isfinite(masked).any() else logits

    def _is_loop(self, tail: Sequence[int], period: int, run: int) -> bool:
        copy, whole = self._bytes(tail[-period:]), self._bytes(tail[-run:])
        return len(whole) >= _LEAST_BYTES and b"\n" not in copy and _WORD.search(copy) is not None

    def _bytes(self, tokens: Sequence[int]) -> bytes:
        known = len(self.spellings)
        return b"".join(self.spellings[token] for token in tokens if token < known)


def _loops(tail: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Periods of which the last tokens are four copies or more, and the lengths of these runs."""
    for period in range(1, len(tail) // _COPIES + 1):
        run = period
        while run < len(tail) and tail[-1 - run] == tail[-1 - run + period]:
            run += 1
        if run >= _COPIES * period:
            yield period, run


@dataclass(frozen=True)
class FirstToken:
    """Refuses end tokens as the first token of a text.

    In training one end token follows another where a document is empty, so a model that is asked
    for a new document may end it at once.

    Attributes:
        end_ids: the tokens that end a text.
    """

    end_ids: Collection[int]

    def __call__(self, logits: FloatArray, context_ids: Sequence[int]) -> FloatArray:
        """[V] -> [V]; `context_ids` are the tokens written so far."""
        if context_ids:
            return logits
        masked = logits.copy()
        masked[list(self.end_ids)] = -np.inf
        return masked if np.isfinite(masked).any() else logits
