"""`bigcode tag`: scores, comments, expressions and patterns that silence a finding."""

from pathlib import Path
from typing import Any

import pytest

from program import Run
from scripted_taggers import write_tagger


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tmp_path_factory.mktemp("models") / "tagger", scores={"Q": 0.6, "X": 0.6})


def test_g6_a_score_for_all_labels_and_for_one(run: Run, tag: Any) -> None:
    text = b"XQXQ ABCD 1@2"
    assert len(tag("--format=json", input=text).spans) == 3
    done = tag("--format=json", "--min-score", "0.7", input=text)
    assert done.spans == [("KEY", 5, 9), ("DIGITS", 10, 13)]
    done = tag("--format=json", "--labels", "DIGITS=0.5,KEY=0.999", input=text)
    assert done.spans == [("DIGITS", 10, 13)]
    done = tag("--format=json", "--labels=KEY", "--min-score=0.7", input=text)
    assert done.spans == [("KEY", 5, 9)]
    done = tag("--format=json", "--labels", "DIGITS", "--labels", "KEY", input=text)
    assert len(done.spans) == 3


ALLOWED = {
    "a.py": "{}  # bigcode: allow",
    "a.js": "{}  // bigcode:allow",
    "a.md": "{} <!-- bigcode: allow-->",
    "a.yaml": "key: {} # BigCode: Allow",
    ".env": "KEY={} # pragma: allowlist secret",
    "a.html": "<p>{}</p><!-- pragma: allowlist secret -->",
    "a.sql": "{} -- gitleaks:allow",
    "a.css": "{} /* bigcode: allow=DIGITS,KEY */",
    "a.tex": "% bigcode: allow-next-line\n{}",
    "a.lisp": ";; bigcode: allow next line\r\n{}",
    "a.rs": "// pragma: allowlist nextline secret\n{}",
}
NOT_ALLOWED = (
    "ABCD # bigcode: allowed",
    "ABCD # bigcode: allow-list",
    "ABCD # bigcode: allow=DIGITS",
    "ABCD # pragma: allowlist",
    "bigcode: allow\nABCD",
    "ABCD\nbigcode: allow",
    "bigcode: allow-next-line\n\nABCD",
    "ABCD # bigcode: allow-next-line",
)


def test_g6_a_comment_allows_a_finding_in_any_language(run: Run, tag: Any) -> None:
    for name, line in ALLOWED.items():
        run.write(f"d/{name}", line.format("abc ABCD"))
        run.write(f"d/more{name}", f"\ufefffirst\r\n\r\n{line.format('ABCD')}\nlast")
    done = tag("--format", "json", "d")
    assert (done.status, done.spans) == (0, [])
    assert len(done.json["files"]) == 2 * len(ALLOWED)
    assert all(entry["allowed"] for entry in done.json["files"])


def test_g6_other_comments_do_not(run: Run, tag: Any) -> None:
    for number, text in enumerate(NOT_ALLOWED):
        run.write(f"d/{number}", text)
    done = tag("--format", "json", "d")
    assert done.json["summary"]["allowed"] == 0
    assert all(entry["spans"] for entry in done.json["files"])
    assert len(done.json["files"]) == len(NOT_ALLOWED)


def test_g6_a_comment_is_found_wherever_pieces_of_the_file_end(run: Run, tag: Any) -> None:
    for shift in (0, 10, 20):
        filler = "x" * 79 + "\n"
        text = filler * 819 + "y" * (16 - shift) + "ABCD # bigcode: allow\nABCD\n"
        run.write(f"{shift}.py", text)
    done = tag("--format", "json", ".")
    assert done.json["summary"]["allowed"] == 3
    assert [[s["start_line"] for s in e["spans"]] for e in done.json["files"]] == [[821]] * 3


def test_g6_expressions_and_patterns_allow(run: Run, tag: Any) -> None:
    for name in ("src/a.py", "tests/b.py", "c.lock"):
        run.write(name, "EXAMPLE OTHER\n")
    options = ("--format", "json", "--allow", "^EXAM", "--exclude", "tests/", "--exclude=*.lock")
    done = tag(*options, "src", "tests", "c.lock")
    assert [entry["path"] for entry in done.json["files"]] == ["src/a.py"]
    assert done.spans == [("KEY", 8, 13)]
    assert done.json["files"][0]["allowed"] == 1
    done = tag(*options, "--allow", "OTHER", "src")
    assert done.status == 0
    done = tag("--exclude", "*", "-q", "src")
    assert (done.status, done.stdout, done.stderr) == (0, b"", "")
    elsewhere = tag("--format=json", "--exclude", "tests/", run.folder / "tests" / "b.py", cwd="/")
    assert elsewhere.json["files"] == []


def test_the_same_fingerprint_wherever_a_secret_stands(run: Run, tag: Any) -> None:
    run.write("a.py", "ABCD\nx ABCD EFGH\n")
    run.write("b.py", "\n\n  ABCD")

    def prints(*options: str) -> list[str]:
        files = tag("--format=json", *options, "a.py", "b.py").json["files"]
        return [span["fingerprint"] for entry in files for span in entry["spans"]]

    first = prints()
    assert first == prints()
    assert (first[0], first[0]) == (first[1], first[3])
    assert first[2] != first[0]
    salted = prints("--salt", "pepper")
    assert salted == prints("--salt", "pepper")
    assert set(salted).isdisjoint(first)
