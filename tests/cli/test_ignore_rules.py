"""What is ignored: what git says, in a repository by git itself, elsewhere by the same rules.

BIGCODE_RANDOM_TREES is the number of random trees that are compared with git.
"""

import os
import random
import time
from pathlib import Path

import pytest

from bigcode_cli.files import walk
from bigcode_cli.files.ignore_rules import IgnoreRules, split_lines
from bigcode_cli.files.walk import find_sources
from git_repository import Repository

NAMES = ("a", "b", "ab", "ba", "aab", "a.b", "abc", "a b", "x[1]", "é", "#a", "!b", "a\\b")
PIECES = (
    *("a", "b", "ab", "c", ".", " ", "é", "*", "*", "*", "?", "**", "/", "/", "/**/", "**/", "/**"),
    *("[ab]", "[!a]", "[^b]", "[a-c]", "[c-a]", "[]a]", "[a", "[[:alpha:]]", "[[:alpha:]-z]"),
    *("[[:nope:]]", "[\\a]", "[a-]", "[!]a]", "[x[:]", "\\a", "\\*", "\\", "[1]", "\\[", "#", "!"),
)
ENDS = ("", "", "", "", "/", "/", " ", "  ", "\\ ", "\t", "\r", "\r\r", "\x0c", "\u2028")


def _random_rule(draw: random.Random) -> str:
    while True:
        text = "".join(draw.choices(PIECES, k=draw.randint(1, 5)))
        # Old versions of git take two stars behind a letter for folders, against their manual.
        if not any(
            text[at : at + 2] == "**" and at and text[at - 1] not in "/*" for at in range(len(text))
        ):
            break
    start = draw.choice(("", "", "", "!", "/", "!/", "#", "\ufeff"))
    return start + text + draw.choice(ENDS)


def _write_random_tree(repository: Repository, draw: random.Random) -> None:
    folders = [Path()]
    for _ in range(draw.randint(1, 6)):
        folder = draw.choice(folders) / draw.choice(NAMES)
        if not (repository.folder / folder).exists():
            (repository.folder / folder).mkdir(parents=True)
            folders.append(folder)
    for _ in range(draw.randint(5, 25)):
        path = repository.folder / draw.choice(folders) / draw.choice(NAMES)
        if not path.exists():
            path.write_bytes(b"x")
    for folder in folders:
        if folder == Path() or draw.random() < 0.3:
            rules = [_random_rule(draw) for _ in range(draw.randint(1, 5))]
            end = draw.choice(("", "\n"))
            (repository.folder / folder / ".gitignore").write_bytes(
                (draw.choice(("", "", "\ufeff")) + "\n".join(rules) + end).encode()
            )
    (repository.folder / ".git" / "info" / "exclude").write_text(_random_rule(draw), "utf-8")


def _listed(repository: Repository) -> set[str]:
    listed = repository.git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return {os.fsdecode(name) for name in listed.split(b"\0") if name}


def test_random_trees_are_seen_as_git_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "GIT_DIR"):
        monkeypatch.delenv(name, raising=False)
    search = walk._Walk(hidden=True, ignore=True, note=pytest.fail)
    for seed in range(int(os.environ.get("BIGCODE_RANDOM_TREES", "25"))):
        draw = random.Random(seed)
        repository = Repository.create(tmp_path / str(seed))
        _write_random_tree(repository, draw)
        expected = _listed(repository)
        # Once by the rules alone, as in a folder without git, and once as a command finds them.
        rules = walk._Rules.of(str(repository.folder), str(repository.folder))
        found = search._list_by_rules(str(repository.folder), rules).names
        assert {os.fsdecode(name) for name in found} == expected, seed
        texts = find_sources([repository.folder], hidden=True, note=pytest.fail)
        assert {os.path.relpath(text.path, repository.folder) for text in texts} == expected, seed


def test_lines_end_where_git_ends_them() -> None:
    data = b"\xef\xbb\xbfa\r\nb\r\r\n\x0c\xe2\x80\xa8c\n\nd\r"
    assert split_lines(data) == [b"a", b"b\r", b"\x0c\xe2\x80\xa8c", b"", b"d"]


HOSTILE = (
    ("*a" * 13 + "*b", "a" * 200),
    ("/" + "*a" * 13 + "*b", "a" * 200),
    ("?*" * 60 + "b", "a" * 255),
    ("**/a" * 12 + "/b", "a/" * 120 + "a"),
    ("/x" + "/**/a*a*a*" * 8 + "b", "x/" + "aaaa/" * 200 + "a"),
    ("[a-z]*" * 40 + "[0-9]", "q" * 255),
    ("*" * 4000, "a" * 255),
    ("*?" * 2000, "a" * 255),
)


@pytest.mark.parametrize(("pattern", "name"), HOSTILE)
def test_no_rule_takes_long(pattern: str, name: str) -> None:
    """Time that does not double with every star: a fifth of a second is a thousand times more."""
    rules = IgnoreRules([pattern.encode()])
    rules.decide(b"a", is_folder=False)
    start = time.process_time()
    rules.decide(name.encode(), is_folder=False)
    assert time.process_time() - start < 0.2


def test_stars_find_every_way_to_match() -> None:
    """The atomic groups, against the plain meaning of stars, on all short names."""
    draw = random.Random(7)

    def matches(pattern: str, name: str) -> bool:
        if not pattern:
            return not name
        if pattern[0] == "*":
            return any(matches(pattern[1:], name[at:]) for at in range(len(name) + 1))
        return bool(name) and pattern[0] in ("?", name[0]) and matches(pattern[1:], name[1:])

    for _ in range(400):
        pattern = "".join(draw.choices("aab?**", k=draw.randint(1, 8)))
        rules = IgnoreRules([pattern.encode()])
        for _ in range(20):
            name = "".join(draw.choices("aab", k=draw.randint(1, 9)))
            found = rules.decide(name.encode(), is_folder=False)
            assert bool(found) == matches(pattern, name), (pattern, name)
