"""Telephone, card and account numbers, by their check digits and numbering plans.

Off unless a caller asks for the labels by name: such numbers look like any other.
"""

import re
from collections.abc import Callable, Iterator

from gpt_bigcode.labeling.rules.mark import Mark

PHONE, CARD, IBAN = "PHONE", "CARD", "IBAN"
NUMBER_LABELS = (PHONE, CARD, IBAN)
_SCORE = 0.9
_DIGITS = re.compile(r"\d{2}")
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){11,18}(?![\w-]|\.\d)")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?!\w)")
_CARD_BEGINNINGS = "23456"  # the networks' first digits; 1 and 9 are others'


def numbers(text: str, named: frozenset[str]) -> Iterator[Mark]:
    """The numbers of a line that were asked for, the surest kinds first.

    Args:
        text: the line.
        named: labels.
    """
    if not named.intersection(NUMBER_LABELS) or not _DIGITS.search(text):
        return
    for label, find in _KINDS.items():
        if label in named:
            for start, end in find(text):
                yield Mark(label, start, end, _SCORE)


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    from stdnum import iban

    for found in _IBAN.finditer(text):
        # What follows may look like a part of it.
        for end in sorted({*_word_ends(found[0]), len(found[0])}, reverse=True):
            if iban.is_valid(found[0][:end]):
                yield found.start(), found.start() + end
                break


def _word_ends(text: str) -> Iterator[int]:
    return (place for place, letter in enumerate(text) if letter == " ")


def _cards(text: str) -> Iterator[tuple[int, int]]:
    from stdnum import luhn

    for found in _CARD.finditer(text):
        digits = re.sub(r"\D", "", found[0])
        if digits[0] in _CARD_BEGINNINGS and len(set(digits)) > 1 and luhn.is_valid(digits):
            yield found.span()


def _phones(text: str) -> Iterator[tuple[int, int]]:
    import phonenumbers

    for match in phonenumbers.PhoneNumberMatcher(text, None):
        yield match.start, match.end


_KINDS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    IBAN: _ibans,
    CARD: _cards,
    PHONE: _phones,
}
