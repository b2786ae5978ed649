"""Taggers whose labels follow a rule. Knows no test."""

from collections.abc import Callable, Sequence

import numpy as np

from gpt_bigcode.backends.interfaces import Logits
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.labeling.results import Tagging
from gpt_bigcode.labeling.text_tagger import TextTagger
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

PLAIN = ("O", "UPPER", "DIGIT")
BIO = ("O", "B-UPPER", "I-UPPER", "B-DIGIT", "I-DIGIT")
"""Labels by number, as the digits of the scripts below name them."""
Rule = Callable[[Sequence[int], int], int]
"""The label of a place in a row, and nothing else of the row."""


class FakeLabeler:
    """Labels by a rule, and keeps what it was asked."""

    def __init__(self, rule: Rule, labels: int, context: int, share: float = 0.99) -> None:
        self.rule, self.label_count, self.context_length = rule, labels, context
        self.vocabulary_size, self.batch_tokens = 1000, 4 * context
        self.share = share
        self.batches: list[list[int]] = []

    def sequence_logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        raise AssertionError(rows)

    def token_logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        self.batches.append([len(row) for row in rows])
        return [self._logits(row) for row in rows]

    def _logits(self, row: Sequence[int]) -> Logits:
        assert 0 < len(row) <= self.context_length
        rest = (1 - self.share) / (self.label_count - 1)
        shares = np.full((len(row), self.label_count), rest)
        for place in range(len(row)):
            shares[place, self.rule(row, place)] = self.share
        return np.asarray(np.log(shares), np.float32)


def make(
    rule: Rule,
    tokenizer: CodeTokenizer,
    *,
    labels: Sequence[str] = PLAIN,
    context: int = 64,
    tagging: object = None,
    share: float = 0.99,
) -> TextTagger:
    names = {str(number): name for number, name in enumerate(labels)}
    extra = {} if tagging is None else {"tagging": tagging}
    config = GPTBigCodeConfig.from_dict(
        {"n_embd": 8, "n_head": 2, "n_positions": context, "id2label": names, **extra}
    )
    return TextTagger(FakeLabeler(rule, len(labels), context, share), tokenizer, config)


def by_letter(tokenizer: CodeTokenizer) -> Rule:
    """Capital letters are keys, digits and the at sign addresses."""

    def rule(row: Sequence[int], place: int) -> int:
        letter = tokenizer.token_bytes(row[place])
        return 1 if letter.isupper() else 2 if letter.isdigit() or letter == b"@" else 0

    return rule


def by_script(script: str) -> Rule:
    """The label of a token is its digit in the script."""
    return lambda _row, place: int(script[place])


def shown(tagging: Tagging | Exception) -> list[tuple[str, str]]:
    assert isinstance(tagging, Tagging)
    return [(span.label, span.text) for span in tagging.spans]
