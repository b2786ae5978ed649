"""Results of many texts in their order, of which those that were computed before need no model.

Knows nothing of what a result is.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bigcode_cli.failures import Failure
from bigcode_cli.texts.result_cache import ResultCache, hash_text
from bigcode_cli.texts.sources import Source

Value = TypeVar("Value")
Compute = Callable[[Iterable[Iterator[str]]], Iterator[Value | Exception]]


@dataclass(frozen=True)
class Memory(Generic[Value]):
    """Where results are kept, and in which form.

    Attributes:
        cache: where.
        pack: a result -> a JSON document; it must hold nothing that the text can be made from.
        unpack: the reverse; any of ValueError, TypeError and LookupError: it is not one of ours.
    """

    cache: ResultCache
    pack: Callable[[Value], Any]
    unpack: Callable[[Any], Value]


class Remembered(Generic[Value]):
    """Iterates over the results of texts; each is what `compute` gives, or gave in another call.

    A text is named by the hash of the bytes that were read for it. One that cannot be read twice,
    such as a pipe, is always computed.
    """

    def __init__(
        self,
        texts: Sequence[Source],
        memory: Memory[Value],
        compute: Compute[Value],
        advance: Callable[[int], None],
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            texts: what results are wanted of.
            memory: where to look first.
            compute: takes texts as pieces, lazily, and gives their results in order; it is called
                for the first text that has none yet, and never if all have.
            advance: told how many bytes were dealt with.
        """
        self.found = 0
        self._texts = texts
        self._memory = memory
        self._compute = compute
        self._advance = advance
        self._known: dict[int, Value | Exception | None] = {}
        self._hashes: dict[int, bytes] = {}

    def __iter__(self) -> Iterator[Value | Exception]:
        """Give the results."""
        computed: Iterator[Value | Exception] | None = None
        for place in range(len(self._texts)):
            outcome = self._look_up(place)
            if outcome is None:
                if computed is None:
                    computed = self._compute(self._unknown(place))
                outcome = next(computed)
                self._keep(place, outcome)
            del self._known[place]
            yield outcome
        self._memory.cache.close()

    def _unknown(self, start: int) -> Iterator[Iterator[str]]:
        for place in range(start, len(self._texts)):
            if self._look_up(place) is None:
                yield self._read(place, self._advance)

    def _read(self, place: int, advance: Callable[[int], None]) -> Iterator[str]:
        digest = hash_text()
        for piece in self._texts[place].pieces(advance):
            digest.update(piece.encode())
            yield piece
        self._hashes[place] = digest.digest()

    def _look_up(self, place: int) -> Value | Exception | None:
        """What is known of a text without a model, an error included; asked for once."""
        if place not in self._known:
            self._known[place] = self._find(place)
        return self._known[place]

    def _find(self, place: int) -> Value | Exception | None:
        text = self._texts[place]
        if self._memory.cache.folder is None or not text.repeatable:
            return None
        try:
            for _ in self._read(place, _nothing):
                pass
        except Failure as error:
            return error
        try:
            packed = self._memory.cache.get(self._hashes.pop(place))
            outcome = None if packed is None else self._memory.unpack(packed)
        except (ValueError, TypeError, LookupError):
            return None
        if outcome is not None:
            self.found += 1
            self._advance(text.size)
        return outcome

    def _keep(self, place: int, outcome: Value | Exception) -> None:
        digest = self._hashes.pop(place, None)
        if digest is not None and not isinstance(outcome, Exception):
            self._memory.cache.put(digest, self._memory.pack(outcome))


def _nothing(_: int) -> None:
    pass
