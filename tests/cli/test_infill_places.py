"""Where the gap is: every way to say it, on every kind of text; and the whole file afterwards."""

import subprocess
from pathlib import Path

import pytest

from bigcode_cli.commands.infill.cursor import find_place
from bigcode_cli.commands.infill.options import ColumnUnit, PlaceOptions
from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.io import text_input
from gpt_bigcode.text_form import without_mark
from infill_program import Infill
from program import Run

BOM = "\ufeff"
TEXT = "a\té中\n\U0001f600e\u0301 = 1\n\nz"


@pytest.fixture
def infill(run: Run) -> Infill:
    return Infill(run)


UNITS = (("character", "utf-32-le", 4), ("utf-16", "utf-16-le", 2), ("byte", "utf-8", 1))


def _sides(file: Path, **options: object) -> tuple[str, str]:
    place = find_place(file, PlaceOptions(**options))  # type: ignore[arg-type]
    assert place.before + place.after == place.data or "marker" in options
    return without_mark(place.prefix), place.suffix


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", BOM])
@pytest.mark.parametrize("text", [TEXT, TEXT + "\n", "", "x", "\n", "\n\n"])
def test_b8_every_position_in_every_unit(
    text: str, mark: str, newline: str, tmp_path: Path
) -> None:
    """Columns in each unit, and offsets; both sides together are always the file."""
    text = text.replace("\n", newline)
    file = tmp_path / "a"
    file.write_bytes((mark + text).encode())
    start = len(mark.encode())
    for number, line in enumerate(text.split(newline), 1):
        before = sum(len(other) + len(newline) for other in text.split(newline)[: number - 1])
        for column in range(1, len(line) + 2):
            place = before + column - 1
            expected = (text[:place], text[place:])
            assert _sides(file, at=f"{number}:{column}") == expected
            for unit, encoding, size in UNITS:
                units = len(line[: column - 1].encode(encoding)) // size + 1
                at = f"{number}:{units}"
                assert _sides(file, at=at, column_unit=ColumnUnit(unit)) == expected
            assert _sides(file, offset=start + len(text[:place].encode())) == expected
        with pytest.raises(UsageFailure, match=f"line {number} has columns 1 to {len(line) + 1}"):
            _sides(file, at=f"{number}:{len(line) + 2}")
    lines = text.count(newline) + 1
    with pytest.raises(UsageFailure, match=f"which has {lines} line"):
        _sides(file, at=f"{lines + 1}:1")
    with pytest.raises(UsageFailure, match=f"which is {len(file.read_bytes())} bytes long"):
        _sides(file, offset=len(file.read_bytes()) + 1)


@pytest.mark.parametrize(
    ("unit", "good", "inside", "most", "counted"),
    [
        ("character", {1: "", 2: "é", 3: "é😀", 4: "é😀e", 5: "é😀e\u0301"}, (), 5, ""),
        ("utf-16", {1: "", 2: "é", 4: "é😀", 5: "é😀e"}, (3,), 6, ", counted in UTF-16"),
        ("byte", {1: "", 3: "é", 7: "é😀", 8: "é😀e"}, (2, 4, 5, 6, 9), 10, ", counted in bytes"),
    ],
    ids=["character", "utf-16", "byte"],
)
def test_b8_a_column_of_another_unit(  # noqa: PLR0913  # a table
    unit: str,
    good: dict[int, str],
    inside: tuple[int, ...],
    most: int,
    counted: str,
    infill: Infill,
    run: Run,
) -> None:
    data = "é😀e\u0301\nx\n".encode()
    infill.write(data)
    model = infill.model("|", data)
    shared = ("infill", "-m", model, f"--column-unit={unit}", "--print=file", "a.py")
    for column, before in good.items():
        done = run(*shared, f"--at=1:{column}")
        assert done.stdout == data[: len(before.encode())] + b"|" + data[len(before.encode()) :]
    for column in inside:
        done = run(*shared, f"--at=1:{column}")
        assert (done.status, done.stdout) == (2, b"")
        where = f"column {column} of line 1 of a.py is inside a character{counted}"
        assert done.stderr == f"bigcode: error[usage]: --at: {where}\n"
    done = run(*shared, f"--at=1:{most + 1}")
    assert done.status == 2
    assert f"line 1 has columns 1 to {most}{counted}" in done.stderr


def test_an_offset_inside_a_character_or_a_line_break(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes("\ufeffé\r\n\U0001f600".encode())
    good = [0, 3, 5, 7, 11]
    for offset in range(12):
        if offset in good:
            assert "".join(_sides(file, offset=offset)) == "é\r\n\U0001f600"
            continue
        inside = "a line break" if offset == 6 else "a character"
        with pytest.raises(UsageFailure, match=f"byte {offset} of .* is inside {inside}"):
            _sides(file, offset=offset)
    assert _sides(file, offset=0)[0] == ""


@pytest.mark.parametrize(
    ("text", "marker", "expected"),
    [
        pytest.param("a <HERE> b", "<HERE>", ("a ", " b"), id="inside"),
        pytest.param("# TODO\n", "# TODO", ("", "\n"), id="start"),
        pytest.param("é😀", "😀", ("é", ""), id="emoji"),
        pytest.param("a\r\nX\r\nb", "X", ("a\r\n", "\r\nb"), id="crlf"),
        pytest.param("<fim_middle>", "<fim_middle>", ("", ""), id="sentinel"),
    ],
)
def test_a_marker_is_the_gap(
    text: str, marker: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "a"
    file.write_bytes(text.encode())
    assert _sides(file, marker=marker) == expected


@pytest.mark.parametrize(
    ("text", "marker", "message"),
    [
        pytest.param("a b", "X", "'X' is not in it", id="none"),
        pytest.param("X X X", "X", "'X' is in it 3 times, not once", id="three"),
        pytest.param("XXX", "XX", "'XX' is in it 2 times, not once", id="overlapping"),
    ],
)
def test_a_marker_that_is_there_more_or_less_than_once(
    text: str, marker: str, message: str, infill: Infill, run: Run
) -> None:
    infill.write(text.encode())
    done = run("infill", "-m", infill.model("x", b""), f"--marker={marker}", "a.py")
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr == f"bigcode: error[usage]: --marker: a.py: {message}\n"


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(("--at", "2:5"), id="at"),
        pytest.param(("--offset", "10"), id="offset"),
        pytest.param(("--marker", "¶"), id="marker"),
    ],
)
def test_all_ways_lead_to_the_same_answer(where: tuple[str, str], infill: Infill, run: Run) -> None:
    text = "# 中\ny = \nz\n"
    name = infill.write(text.replace("= ", "= ¶").encode() if "¶" in where else text.encode())
    model = infill.model("1", text.encode())
    assert run("infill", "-m", model, *where, name.name).stdout == b"1"
    done = run("infill", "-m", model, *where, "--print=file", name.name)
    assert done.stdout.decode() == "# 中\ny = 1\nz\n"


def test_two_files(infill: Infill, run: Run) -> None:
    infill.write(b"\xef\xbb\xbfx = ", "before")
    infill.write(b"\xef\xbb\xbf\ny = 2\n", "after")
    model = infill.model("1", b"x = \ny = 2\n")
    arguments = ("infill", "-m", model, "--prefix-file=before", "--suffix-file")
    document = run(*arguments, "after", "--format=json").json
    assert (document["choices"][0]["text"], document["prompt_tokens"]) == ("1", 3 + 11)
    assert run(*arguments, "-", input=b"\ny = 2\n").stdout == b"1"
    whole = run(*arguments, "after", "--print=file").stdout
    assert whole == b"\xef\xbb\xbfx = 1\ny = 2\n"
    empty = infill.model("1", b"x = ")
    arguments = ("infill", "-m", empty, "--prefix-file=before", "--suffix-file=/dev/null")
    assert run(*arguments).stdout == b"1"
    done = run(*arguments[:-1], "--suffix-file=nowhere")
    assert (done.status, done.stderr) == (
        3,
        "bigcode: error[input]: nowhere: No such file or directory\n",
    )


@pytest.mark.parametrize(
    ("data", "slug"),
    [
        pytest.param(b"caf\xe9\n", "input-encoding", id="latin-1"),
        pytest.param(b"a\x00\n", "binary", id="nul"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, slug: str, infill: Infill, run: Run) -> None:
    infill.write(data)
    for options in (("--at=1:1",), ("--at=1:1", "--in-place")):
        done = run("infill", "-m", infill.model("x", b""), *options, "a.py")
        assert (done.status, done.stdout) == (3, b"")
        assert done.stderr.startswith(f"bigcode: error[{slug}]: a.py: ")
    assert (run.folder / "a.py").read_bytes() == data


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", BOM])
def test_line_ends_and_byte_order_mark_stay(newline: str, mark: str, infill: Infill) -> None:
    text = f"{mark}a\n|\n\tfinish(b)\n".replace("\n", newline)
    done = infill(text, "x\ny\n\tfinish(b)\n", "--print=file")
    assert done.stdout.decode() == f"{mark}a\nx\ny\n\tfinish(b)\n".replace("\n", newline)
    assert infill(text, "x\ny\n\tfinish(b)\n").stdout.decode() == f"x{newline}y"


def test_the_file_in_json(infill: Infill) -> None:
    document = infill("x = |\n", "1", "--print=file", "--format=json", "--samples=2").json
    assert [choice["text"] for choice in document["choices"]] == ["x = 1\n"] * 2
    document = infill("x = |\n", "1", "--print=diff", "--format=jsonl").json
    assert document["choices"][0]["text"] == "--- a.py\n+++ a.py\n@@ -1 +1 @@\n-x = \n+x = 1\n"
    assert infill("x = |\n", "1", "--print=middle").stdout == b"1"


@pytest.mark.parametrize("name", ["a.py", "src/a b.py", "ünï.py"])
@pytest.mark.parametrize("text", ["a\nx = |\nb\n", "x = |", "a\r\nx = |\r\nb\r\n", "|"])
def test_patch_and_git_accept_the_diff(name: str, text: str, infill: Infill, run: Run) -> None:
    data = text.encode()
    path = run.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.replace(b"|", b""))
    model = infill.model("1\n2", path.read_bytes())
    arguments = ("infill", "-m", model, f"--offset={data.index(b'|')}", name)
    diff = run(*arguments, "--print=diff").stdout
    whole = run(*arguments, "--print=file").stdout
    assert diff.count(name.encode()) == 2
    for program in (("git", "apply", "-p0"), ("patch", "-p0", "--binary", "-s")):
        path.write_bytes(data.replace(b"|", b""))
        subprocess.run(program, input=diff, cwd=run.folder, check=True)
        assert path.read_bytes() == whole


def test_no_answer_is_no_difference(infill: Infill, run: Run) -> None:
    assert infill("x = |\n", "", "--print=diff").stdout == b""
    assert infill("x = |\n", "", "--print=file").stdout == b"x = \n"
    infill.write("x = ¶\n".encode())
    model = infill.model("", b"x = \n")
    assert run("infill", "-m", model, "--marker=¶", "--print=diff", "a.py").stdout == b""


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_input, "STREAM_BYTES", 1000)
    monkeypatch.setattr(text_input, "TAIL_BYTES", 10)
    file = tmp_path / "a"
    file.write_bytes(b"a" * 1000)
    assert _sides(file, offset=500) == ("a" * 500, "a" * 500)
    file.write_bytes(b"a" * 1001)
    with pytest.raises(Failure, match="more than") as caught:
        _sides(file, offset=500)
    assert caught.value.slug == "too-large"


def test_d3_a_large_file_is_read_around_the_gap(infill: Infill, run: Run) -> None:
    """30 MB on each side: more than `complete` would look at."""
    line = b"x" * 99 + b"\n"
    infill.write(line * 600_000)
    model = infill.model("y", b"")
    arguments = ("--offset=30000000", "--format=json", "--max-tokens=4", "a.py")
    document = run("infill", "-m", model, *arguments).json
    for side in ("dropped_prefix_tokens", "dropped_suffix_tokens"):
        assert document[side] == pytest.approx(30_000_000, rel=0.01)


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("at", "filled"),
    [
        pytest.param("1", "a|\nb\n", id="end-of-a-line"),
        pytest.param("2", "a\nb|\n", id="end-of-the-last-line"),
        pytest.param("3", "a\nb\n|", id="the-line-after-the-last-break"),
        pytest.param("END", "a\nb\n|", id="end-of-the-file"),
    ],
)
def test_a_line_or_the_end_alone(
    at: str, filled: str, line_break: str, infill: Infill, run: Run
) -> None:
    data = filled.replace("|", "").replace("\n", line_break).encode()
    infill.write(data)
    model = infill.model("|", data)
    done = run("infill", "-m", model, f"--at={at}", "--print=file", "--no-trim", "a.py")
    assert done.stdout.decode() == filled.replace("\n", line_break)
    done = run("infill", "-m", model, "--at=4", "a.py")
    assert (done.status, "--at: 4 is not in a.py, which has 3 lines" in done.stderr) == (2, True)
