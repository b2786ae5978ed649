"""`bigcode tag --baseline`: what is known is not reported again, wherever it has moved to."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from program import Run
from scripted_taggers import write_tagger

BASE = "--baseline=known.json"
UPDATE = (BASE, "--update-baseline")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tmp_path_factory.mktemp("models") / "tagger")


@pytest.fixture
def baseline(run: Run) -> Path:
    return run.folder / "known.json"


def _known(baseline: Path) -> list[tuple[str, str]]:
    findings = json.loads(baseline.read_text("utf-8"))["findings"]
    return [(entry["path"], entry["label"]) for entry in findings]


def test_g6_a_baseline_survives_moved_lines(run: Run, tag: Any, baseline: Path) -> None:
    path = run.folder / "a.py"
    path.write_text("one ABCD\ntwo 1@2\n", "utf-8")
    done = tag(*UPDATE, "a.py")
    assert (done.status, done.stdout) == (0, b"")
    assert done.stderr == "bigcode: note: known.json: written, 2 findings\n"
    before = (baseline.read_bytes(), baseline.stat().st_mtime_ns)
    path.write_text("# new\n" * 10 + "\tone ABCD\n\ntwo 1@2", "utf-8")
    done = tag(BASE, "--format=json", "a.py")
    assert (done.status, done.json["files"][0]["spans"]) == (0, [])
    assert done.json["files"][0]["known"] == 2
    assert "unchanged" in tag(*UPDATE, "a.py").stderr
    assert (baseline.read_bytes(), baseline.stat().st_mtime_ns) == before
    path.write_text("one ABCD\nnew EFGH\n", "utf-8")
    done = tag(BASE, "a.py")
    assert done.status == 1
    assert done.stdout.startswith(b"a.py:2:5: KEY, 4 characters")
    assert done.stdout.splitlines()[1:] == [b"    new ****"]


def test_the_file_is_sorted_and_tells_nothing(run: Run, tag: Any, baseline: Path) -> None:
    for name in ("b.py", "a.py"):
        (run.folder / name).write_text("ZYXWVUTS 1@2 ABCDEFGH ZYXWVUTS\n", "utf-8")
    assert tag(*UPDATE, "b.py", "a.py").status == 0
    text = baseline.read_text("utf-8")
    assert "ZYXW" not in text
    lines = [line for line in text.splitlines() if "fingerprint" in line]
    assert lines == sorted(lines)
    assert _known(baseline) == [
        *(("a.py", "DIGITS"), ("a.py", "KEY"), ("a.py", "KEY")),
        *(("b.py", "DIGITS"), ("b.py", "KEY"), ("b.py", "KEY")),
    ]
    # Two baselines have two salts, so that what they know cannot be compared.
    salt = json.loads(text)["salt"]
    assert len(salt) == 32
    assert tag("--baseline=other.json", "--update-baseline", "a.py").status == 0
    other = json.loads((run.folder / "other.json").read_text("utf-8"))
    prints = [
        {entry["fingerprint"] for entry in one["findings"]} for one in (other, json.loads(text))
    ]
    assert prints[0].isdisjoint(prints[1])
    report = tag("--format=json", "--salt", salt, "a.py").json
    assert {span["fingerprint"] for span in report["files"][0]["spans"]} <= prints[1]


def test_an_update_replaces_what_was_searched_and_keeps_the_rest(
    run: Run, tag: Any, baseline: Path
) -> None:
    for name in ("a.py", "b.py", "gone.py"):
        (run.folder / name).write_text("ABCD 1@2", "utf-8")
    tag(*UPDATE, ".")
    (run.folder / "a.py").write_text("ABCD # 3@4 bigcode: allow\n EFGH", "utf-8")
    (run.folder / "gone.py").unlink()
    tag(*UPDATE, "a.py")
    assert _known(baseline) == [("a.py", "KEY"), ("b.py", "DIGITS"), ("b.py", "KEY")]
    (run.folder / "b.py").write_bytes(b"\0")
    assert tag(*UPDATE, ".", "-q").status == 0
    assert len(_known(baseline)) == 3  # what could not be searched is still known


def test_paths_belong_to_the_folder_of_the_baseline(run: Run, tag: Any, baseline: Path) -> None:
    (run.folder / "src").mkdir()
    (run.folder / "src" / "a.py").write_text("ABCD", "utf-8")
    assert tag(*UPDATE, ".").status == 0
    assert _known(baseline) == [("src/a.py", "KEY")]
    below = run.folder / "src"
    assert tag("--baseline=../known.json", "a.py", cwd=below).status == 0
    assert tag("--baseline", baseline, below / "a.py", cwd="/").status == 0
    (run.folder / "b.py").write_text("ABCD", "utf-8")
    assert tag(BASE, ".").status == 1  # the same secret in another file is news


def test_the_baseline_itself_is_not_searched(run: Run, tag: Any, baseline: Path) -> None:
    (run.folder / "a.py").write_text("ABCD", "utf-8")
    assert tag(*UPDATE, ".").status == 0
    done = tag(BASE, "--format=json", ".")
    assert (done.status, [e["path"] for e in done.json["files"]]) == (0, ["./a.py"])


def test_standard_input_has_a_place_in_it(tag: Any, baseline: Path) -> None:
    assert tag(*UPDATE, input=b"ABCD").status == 0
    assert _known(baseline) == [("-", "KEY")]
    assert tag(BASE, input=b"\n\nABCD").status == 0


def test_it_is_written_as_a_whole_or_not_at_all(run: Run, tag: Any, baseline: Path) -> None:
    (run.folder / "a.py").write_text("ABCD", "utf-8")
    (run.folder / "real.json").symlink_to("known.json")
    tag(*UPDATE, "a.py")
    baseline.chmod(0o640)
    (run.folder / "a.py").write_text("EFGH", "utf-8")
    assert tag("--baseline=real.json", "--update-baseline", "a.py").status == 0
    assert (run.folder / "real.json").is_symlink()
    assert baseline.stat().st_mode & 0o777 == 0o640
    done = tag("--baseline=no/such/folder.json", "--update-baseline", "a.py")
    assert done.status == 3
    assert "error[baseline]: no/such/folder.json: there is no folder " in done.stderr
    names = sorted(path.name for path in run.folder.iterdir())
    assert names == ["a.py", "known.json", "real.json"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "nonsense", '{"version": 2, "salt": "x", "findings": []}'),
        '{"version": 1, "salt": "x", "findings": [{"path": "a"}]}',
        '{"version": 1, "salt": 3, "findings": []}',
        '{"version": 1, "salt": "x", "findings": {}}',
        '{"version": 1, "salt": "x", "findings": [{"path":1,"label":"a","fingerprint":"b"}]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_baseline_is_refused_and_stays(
    run: Run, tag: Any, baseline: Path, text: str
) -> None:
    (run.folder / "a.py").write_text("ABCD", "utf-8")
    baseline.write_text(text, "utf-8")
    for options in ((BASE,), UPDATE):
        done = tag(*options, "a.py")
        assert (done.status, done.stdout) == (3, b"")
        assert done.stderr.startswith("bigcode: error[baseline]: known.json: is not a baseline")
    assert baseline.read_text("utf-8") == text


def test_a_baseline_that_is_not_there_and_another_salt(run: Run, tag: Any) -> None:
    done = tag(BASE, input=b"ABCD")
    assert (done.status, done.stdout) == (3, b"")
    assert "error[baseline]: known.json: there is no such file" in done.stderr
    assert tag(*UPDATE, "--salt", "mine", input=b"ABCD").status == 0
    assert json.loads((run.folder / "known.json").read_text("utf-8"))["salt"] == "mine"
    assert tag(BASE, "--salt", "mine", input=b"ABCD").status == 0
    done = tag(BASE, "--salt", "other", input=b"ABCD")
    assert (done.status, done.stdout) == (2, b"")
    assert "--salt: the baseline was made with another one" in done.stderr


@pytest.mark.parametrize("exists", [True, False])
def test_updates_at_once_all_land(run: Run, tag: Any, baseline: Path, *, exists: bool) -> None:
    """A new baseline too: each of them draws a salt, and one salt is kept."""
    if exists:
        baseline.write_text('{"version":1,"salt":"s","findings":[]}', "utf-8")
    names = [f"{number}.py" for number in range(8)]
    for name in names:
        (run.folder / name).write_text(f"ABCD {name}\n", "utf-8")
    with ThreadPoolExecutor(8) as pool:
        assert {done.status for done in pool.map(partial(tag, *UPDATE), names)} == {0}
    assert {path for path, _ in _known(baseline)} == set(names)
    assert tag(BASE, *names).status == 0
    left = sorted(path.name for path in run.folder.iterdir())
    assert left == sorted([*names, baseline.name])


@pytest.mark.parametrize("place", ["known.json", "d/known.json"])
def test_a_file_is_the_same_file_however_its_path_is_spelled(
    place: str, run: Run, tag: Any
) -> None:
    source = run.folder / "d" / "src"
    source.mkdir(parents=True)
    (source / "a.py").write_text("x ABCD", "utf-8")
    (run.folder / "link").symlink_to("d/src")
    (run.folder / "a.py").symlink_to("link/a.py")
    assert tag("--baseline", place, "--update-baseline", "d/src").status == 0
    baseline = f"--baseline={run.folder / place}"
    for folder, path in (
        *((".", "d/src"), (".", "./d/../d/src/a.py"), (".", str(source)), (".", "link/a.py")),
        *((".", "a.py"), ("d", "src"), ("d/src", "."), ("d/src", "a.py"), ("link", "a.py")),
    ):
        done = tag(baseline, "--format=json", path, cwd=run.folder / folder)
        assert (done.status, done.json["summary"]["known"]) == (0, 1), (folder, path)
