"""What `bigcode tag` says of a finding: its line, masked, and what to do about it."""

from pathlib import Path
from string import ascii_uppercase

import pytest

from bigcode_cli.commands.tag.advice import advice, allowing_comment
from bigcode_cli.commands.tag.masking import MaskedLine
from gpt_bigcode.labeling.results import Span
from program import Run
from scripted_taggers import write_tagger

AWS = "AKIA" + "J4XQ2T7LMN3WQZPA"


def _spans(text: str, *secrets: str) -> list[Span]:
    """One for each secret in a text of one or more lines."""
    found = []
    for secret in secrets:
        start = text.index(secret)
        end = start + len(secret)
        found.append(
            Span(
                label="KEY",
                start=len(text[:start].encode()),
                end=len(text[:end].encode()),
                start_line=text.count("\n", 0, start) + 1,
                start_column=start - text.rfind("\n", 0, start),
                end_line=text.count("\n", 0, end) + 1,
                end_column=end - text.rfind("\n", 0, end),
                score=0.9,
                text=secret,
            )
        )
    return found


@pytest.mark.parametrize(
    ("line", "secrets", "shown"),
    [
        (f'key = "{AWS}"  # prod', [AWS], 'key = "AKIA****"  # prod'),
        ("password=hunter2 x", ["hunter2"], "password=**** x"),
        ("a hunter2 b wombat99 c", ["hunter2", "wombat99"], "a **** b **** c"),
        ("dsn = postgres://me:hunter2@host/db", ["hunter2"], "dsn = postgres://me:****"),
        ("only abcmiddlexyz was found", ["middle"], "only **** was found"),
        ("two words: Jane Miller, here", ["Jane Miller"], "two words: ****, here"),
        ("<<<>>> here", ["<<<>>>"], "**** here"),
        ("née Ünal 日本 s3cret!", ["s3cret!"], "née Ünal 日本 ****"),
        ("\tkey: \x1b[31mhunter2", ["hunter2"], "key: ^[[****"),
        ("id = 1; key = hunter2; other = Zm9vYmFyYmF6cXV4MTIz", ["hunter2"], None),
    ],
)
def test_the_line_is_shown_and_the_secret_is_not(
    line: str, secrets: list[str], shown: str | None
) -> None:
    spans = _spans(line, *secrets)
    masked = MaskedLine(line, 1, spans).around(spans[0])
    if shown is None:  # what looks like a secret and was missed is masked too
        shown = "id = 1; key = ****; other = ****"
    assert masked == shown


def test_of_a_secret_over_several_lines_nothing_is_shown() -> None:
    text = "x = 1\nkey = '''one two\nthree four''' # end"
    (span,) = _spans(text, "one two\nthree four")
    assert MaskedLine(text.splitlines()[1], 2, [span]).around(span) == "key = '''****"


def test_of_a_long_line_the_part_with_the_finding_is_shown() -> None:
    line = "word " * 300 + "key = hunter2 " + "word " * 300
    spans = _spans(line, "hunter2")
    masked = MaskedLine(line, 1, spans).around(spans[0])
    assert "key = ****" in masked
    assert len(masked) < 140
    assert masked.startswith("... ")
    assert masked.endswith(" ...")


@pytest.mark.parametrize(
    ("path", "comment"),
    [
        ("a.py", "# bigcode: allow"),
        ("d/Makefile", "# bigcode: allow"),
        (".env", "# bigcode: allow"),
        ("a.rs", "// bigcode: allow"),
        ("a.sql", "-- bigcode: allow"),
        ("a.HTML", "<!-- bigcode: allow -->"),
        ("a.css", "/* bigcode: allow */"),
        ("a.json", None),
        ("a.unheard-of", "bigcode: allow"),
    ],
)
def test_the_comment_is_that_of_the_language(path: str, comment: str | None) -> None:
    assert allowing_comment(path) == comment


def test_advice_names_comments_and_the_command_of_the_baseline() -> None:
    (wrong,) = advice(["a.py", "b.py", "c.ts"], secrets=False, baseline="known.json")
    assert "add `# bigcode: allow` or `// bigcode: allow` to its line, or record it" in wrong
    assert "`bigcode tag --baseline known.json --update-baseline PATH`" in wrong
    (wrong,) = advice(["a.py", "notes"], secrets=False, baseline=None)
    assert "add `# bigcode: allow` or a comment with `bigcode: allow` to its line, or" in wrong
    real, wrong = advice(["package.json"], secrets=True, baseline=None)
    assert "remove it and revoke it" in real
    assert wrong.startswith("a false positive: record it with")


@pytest.mark.parametrize("style", ["a.py", "a.rs", "a.sql", "a.html", "a.css", "a.bat", "a.tex"])
def test_the_comment_that_is_named_allows_the_finding(style: str, run: Run, tmp_path: Path) -> None:
    model = write_tagger(tmp_path / "tagger")
    (run.folder / style).write_text(f"x ABCD {allowing_comment(style)}\n", "utf-8")
    assert run("tag", "-m", model, style).status == 0


def test_authors_who_are_named_as_such_do_not_fail_a_gate(run: Run, tmp_path: Path) -> None:
    model = write_tagger(tmp_path / "people", {"NAME": "ABCD", "KEY": "WXYZ"})
    texts = {
        "a.py": "# Copyright (c) 2024 ABCD\n",
        "b.py": "__author__ = 'ABCD'\n",
        "AUTHORS": "ABCD\n",
        "pyproject.toml": "authors = [\n  {name = 'ABCD'},\n]\n",
        "c.txt": "Signed-off-by: ABCD\n",
    }
    for name, text in texts.items():
        (run.folder / name).write_text(text, "utf-8")
    done = run("tag", "-m", model, "--format", "json", ".")
    assert (done.status, done.json["summary"]["searched"]) == (0, len(texts))
    assert done.json["summary"]["allowed"] >= len(texts)
    # Who asks for names gets them, keys are never names, and prose is no attribution.
    assert run("tag", "-m", model, "--labels", "NAME", ".").status == 1
    (run.folder / "a.py").write_text("# Copyright (c) 2024 WXYZ\n", "utf-8")
    assert run("tag", "-m", model, "a.py").status == 1
    (run.folder / "a.py").write_text("# ABCD called\n", "utf-8")
    assert run("tag", "-m", model, "a.py").status == 1


def test_an_expression_is_not_repeated_in_the_error_about_it(run: Run, tmp_path: Path) -> None:
    model = write_tagger(tmp_path / "tagger")
    for expression in ("SECRET(", r"(?P=SECRET)", r"\SECRET\y", "[SECRET-A]"):
        done = run("tag", "-m", model, "--allow", "fine", "--allow", expression, input=b"x")
        assert (done.status, done.stdout) == (2, b"")
        assert "--allow: no. 2 is not a valid regular expression" in done.stderr
        assert "SECRET" not in done.stderr


def test_strict_refuses_a_search_that_skipped_a_file(run: Run, tmp_path: Path) -> None:
    model = write_tagger(tmp_path / "tagger")
    (run.folder / "a.py").write_text("fine\n", "utf-8")
    (run.folder / "b.png").write_bytes(b"\x89PNG\0")
    (run.folder / "empty.py").write_bytes(b"")
    done = run("tag", "-m", model, ".")
    assert (done.status, done.stderr) == (
        0,
        "bigcode: note: 1 of 3 files skipped (1 binary), 1 empty\n",
    )
    done = run("tag", "-m", model, "--strict", ".")
    assert (done.status, done.stdout) == (3, b"")
    assert "error[not-judged]: --strict: 1 of 3 files skipped (1 binary), 1 empty" in done.stderr
    (run.folder / "b.png").unlink()
    assert run("tag", "-m", model, "--strict", ".").status == 0


def test_a_line_with_thousands_of_findings_is_masked_once(run: Run, tmp_path: Path) -> None:
    """Each finding looked at all spans and all words of its line: minutes for a wide line."""
    model = write_tagger(tmp_path / "tagger")
    words = [f"KEY{letter}" for letter in ascii_uppercase]
    run.write("wide.txt", " ".join(words * 400))
    done = run("tag", "-m", model, "wide.txt", env={"COLUMNS": "80"})
    assert done.status == 1
    lines = done.stdout.decode().splitlines()
    assert sum("****" in line for line in lines) == len(words) * 400
