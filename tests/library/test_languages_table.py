"""The table of languages: unique names, and what file names say."""

from collections import Counter

import pytest

from gpt_bigcode.labeling.languages import LANGUAGES, aliases, by_name, identifiers_of


def test_names_and_identifiers_are_unique() -> None:
    assert len(LANGUAGES) >= 70
    assert max(Counter(one.name.casefold() for one in LANGUAGES).values()) == 1
    assert max(Counter(alias for alias, _ in aliases()).values()) == 1
    names = {one.name.casefold(): one.name for one in LANGUAGES}
    for alias, label in aliases():
        assert alias == alias.casefold()
        assert names.get(alias, label) == label  # no alias is another language's name


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("src/app.py", ("Python",)),
        ("SRC/APP.PY", ("Python",)),
        ("include/list.h", ("C", "C++", "Objective-C")),
        ("plot.m", ("MATLAB", "Objective-C")),
        ("run.pl", ("Perl", "Prolog")),
        ("Dockerfile", ("Dockerfile",)),
        ("Dockerfile.test", ("Dockerfile",)),
        ("CMakeLists.txt", ("CMake",)),
        ("meson.build", ("Meson",)),
        ("notes.txt", ("Plain text",)),
        ("a.unheard", ()),
        ("script", ()),
        (".py", ()),
        ("", ()),
        ("-", ()),
    ],
)
def test_what_a_name_allows(path: str, labels: tuple[str, ...]) -> None:
    assert by_name(path) == labels


def test_identifiers_of_labels() -> None:
    assert identifiers_of(["Python", "no such label"]) == {"Python": ["python", "py", "python3"]}
