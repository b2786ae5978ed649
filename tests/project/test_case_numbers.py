"""Every case of the catalogue of faults, 1 to 59, has a test that carries its number.

`test_46_55_refusals` is of cases 46 and 55, `test_19_to_21_tokenizers` of cases 19 to 21.
"""

import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
NAME = re.compile(r"^def test_((?:\d\d_(?:to_)?)+)", re.MULTILINE)
LAST_CASE = 59


def cases(numbers: str) -> Iterator[int]:
    first, is_range, last = numbers.strip("_").partition("_to_")
    if is_range:
        yield from range(int(first), int(last) + 1)
    else:
        yield from map(int, first.split("_"))


def test_no_case_is_without_a_test() -> None:
    found = {
        case
        for path in TESTS.rglob("test_*.py")
        for numbers in NAME.findall(path.read_text("utf-8"))
        for case in cases(numbers)
    }
    assert sorted(set(range(1, LAST_CASE + 1)) - found) == []
