"""How many guesses to check at once, decided by counts, so that no text depends on the clock.

All costs are in plain steps, the time in which the model would have read one token. What a pass
over several tokens costs is a property of the decoder that was measured once (benchmarks), and not
while it runs: a machine that stalls must not write another text.
"""

from collections.abc import Sequence

from gpt_bigcode.generation.drafters import LONGEST_DRAFT

_LEAST_GAIN = 1.05  # expected tokens in the time of a plain step; below, a draft is not worth it
_STAKE_PER_TOKEN = 0.025
MOST_STAKE = 4.0
"""What may be staked at most: a text that stops repeating keeps the rest of what it gained."""


class SpeculationBudget:
    """What guesses may still lose.

    Every token that is written adds a little to the stake, and so does every guess that was right;
    what was checked in vain is taken from it. So all wrong guesses of a text together cost at most
    3 % of it, and guesses are checked more boldly where they were right before.
    """

    def __init__(self, *, guess_cost: float, draft_cost: float = 0.0, stake: float = 0.0) -> None:
        """Begin a text.

        Args:
            guess_cost: what one more token in a pass costs.
            draft_cost: what one pass of the model that guesses costs.
            stake: what may be lost before anything was gained.
        """
        self._guess_cost, self._draft_cost = guess_cost, draft_cost
        self._stake = stake

    def most(self, reserve: float = 0.0) -> int:
        """How many guesses may be lost now, besides a reserve."""
        each = self._guess_cost + self._draft_cost
        return max(min(int((self._stake - reserve) / each), LONGEST_DRAFT), 0)

    def length(self, shares: Sequence[float]) -> int:
        """How many guesses to check, given how likely each is right if those before it are."""
        best, length, reached, expected = _LEAST_GAIN, 0, 1.0, 1.0
        for count, share in enumerate(shares[:LONGEST_DRAFT], start=1):
            reached *= share
            expected += reached
            gain = expected / (1 + self._guess_cost * count)
            if gain > best:
                best, length = gain, count
        return length

    def written(self, tokens: int, *, checked: int = 0) -> None:
        """A pass wrote this number of tokens, after `checked` guesses."""
        gained = tokens - 1 - self._guess_cost * checked
        self._stake = min(self._stake + _STAKE_PER_TOKEN * tokens + gained, MOST_STAKE)

    def drafted(self, passes: int) -> None:
        """The model that guesses was run this often."""
        self._stake -= self._draft_cost * passes

    def repeated(self, steps: int) -> None:
        """Steps were computed that plain decoding would not have needed."""
        self._stake -= steps
