"""`bigcode score --html`: the page as a file, and as a real Chromium shows it."""

import html
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

import pytest

from chromium import Browser, open_browser
from program import BIGCODE, Outcome, Run
from scripted_models import encode, numbered_lines, write_checkpoint

GOOD = numbered_lines(12)  # what the model expects
BAD = GOOD.replace("value_7", "v@#$%&7")  # as long as what it stands for
TAGS = 'x = "</script></code></style><img src=x onerror=alert(1)>"'
HOSTILE = f"{TAGS}\r\n# <fim_middle> \u202egnp\x1b[31m\r\n"
NAME = "a<b>&\u202e'\".py"
Page = Callable[..., Outcome]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "numbered"
    return write_checkpoint(folder, script=encode(numbered_lines(40)), positions=512)


@pytest.fixture
def page(run: Run, model: Path) -> Page:
    return lambda *arguments, **options: run(
        "score", "-m", model, "--html", "page.html", *arguments, **options
    )


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with open_browser(tmp_path / "profile") as found:
        yield found


class _Outline(HTMLParser):
    """Collects what a page is made of, and refuses tags that are not closed in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self._open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data


def _read(run: Run) -> tuple[str, _Outline]:
    text = (run.folder / "page.html").read_text("utf-8")
    return text, _Outline(text)


def _write(run: Run, **files: str) -> None:
    for name, text in files.items():
        (run.folder / f"{name}.py").write_bytes(text.encode())


def test_several_files_on_one_page(page: Page, run: Run) -> None:
    _write(run, good=GOOD, bad=BAD)
    (run.folder / "binary").write_bytes(b"\0")
    done = page("good.py", "bad.py", "binary", "gone", "--max-bits-per-byte", "1", "--format=json")
    assert done.status == 3
    text, outline = _read(run)
    entries = done.json["files"]
    assert f'<td class="num">{entries[1]["bits_per_byte"]:.3f}</td>' in text
    rows = re.findall(r'<a href="#f(\d)">([^<]*)</a></td>', text)
    assert rows == [("2", "bad.py"), ("1", "good.py"), ("3", "binary"), ("4", "gone")]
    assert "skipped: binary" in text
    assert "error: input" in text
    assert "above a limit" in text
    assert outline.texts["f2-l8"].startswith("8")
    assert "v@#$%&7 = 49" in outline.texts["f2-l8"]
    assert "no. 1 of the list" in outline.texts["f2-l8"]
    assert "bad.py:8" in text  # in the list of all files
    ids = [values["id"] for _, values in outline.tags if "id" in values]
    assert len(ids) == len(set(ids))
    links = [str(values["href"]) for tag, values in outline.tags if tag == "a"]
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert "f2-l8" in {link.removeprefix("#") for link in links}


def test_marks_carry_bits_without_colour(page: Page, run: Run) -> None:
    _write(run, bad=BAD)
    done = page("bad.py", "--tokens", "--format", "jsonl")
    text, _ = _read(run)
    source = text.partition('<div class="src">')[2]
    marks = re.findall(r'<mark class="s(\d)" title="([\d.]+) bits">([^<]+)</mark>', source)
    data = BAD.encode()
    expected = [
        (bits, chr(data[token["start"]]))
        for token in done.json["token_scores"]
        if (bits := -token["logprob"] / log(2)) >= 3 and data[token["start"]] != 0x0A
    ]
    assert len(expected) == 5
    assert [html.unescape(mark[2]) for mark in marks] == [char for _, char in expected]
    assert [float(mark[1]) for mark in marks] == pytest.approx([b for b, _ in expected], abs=0.051)
    assert {mark[0] for mark in marks} == {"4"}
    assert "12 or more bits" in text


def test_text_of_a_file_stays_text(page: Page, run: Run) -> None:
    (run.folder / NAME).write_bytes(HOSTILE.encode())
    done = page(NAME)
    assert done.status == 0
    text, outline = _read(run)
    assert {"img", "script", "b"} & {tag for tag, _ in outline.tags} == set()
    assert not set(map(ord, text)) & ({*range(0x20), 0x7F, 0x202E} - {0x0A})
    assert TAGS in outline.texts["f1-l1"]
    assert "# <fim_middle> <U+202E>gnp^[[31m" in outline.texts["f1-l2"]
    assert outline.texts["f1"] == "a<b>&<U+202E>'\".py"


def test_the_page_is_written_as_a_whole_or_not_at_all(
    page: Page, run: Run, model: Path, umask: Callable[[int], int]
) -> None:
    _write(run, good=GOOD, bad=BAD)
    umask(0o027)
    assert page("good.py").status == 0
    target = run.folder / "page.html"
    assert target.stat().st_mode & 0o777 == 0o640
    first = target.read_bytes()
    assert page("good.py").status == 0
    assert target.read_bytes() == first  # nothing in it depends on the time
    target.chmod(0o600)
    link = run.folder / "link.html"
    link.symlink_to("page.html")
    done = run("score", "-m", model, "--html", "link.html", "bad.py", "--max-bits-per-byte", "1")
    assert done.status == 1
    assert link.is_symlink()
    assert b"bad.py" in target.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o600
    limit = 'ulimit -f 1; trap \'\' XFSZ; exec "$0" "$@"'
    before = target.read_bytes()
    full = page("good.py", "bad.py", program=("bash", "-c", limit, BIGCODE))
    assert full.status == 3
    assert "error[output]: page.html: " in full.stderr
    assert target.read_bytes() == before
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"good.py", "bad.py", "page.html", "link.html"}


@pytest.mark.parametrize(
    ("target", "status", "message"),
    [
        pytest.param("gone/page.html", 3, "there is no folder", id="no-folder"),
        pytest.param(".", 2, "is not a regular file", id="folder"),
        pytest.param("-", 2, "--html needs a FILE", id="stdout"),
        pytest.param("/dev/null", 2, "is not a regular file", id="device"),
        pytest.param("good.py", 3, "exists and is not such a page", id="source"),
        pytest.param("", 2, "a file's name cannot be empty", id="empty"),
    ],
)
def test_what_cannot_be_a_page_is_refused_first(
    target: str, status: int, message: str, run: Run, model: Path
) -> None:
    _write(run, good=GOOD)
    done = run("score", "-m", model, "--html", target, "good.py")
    assert (done.status, done.stdout) == (status, b"")
    assert message in done.stderr
    assert (run.folder / "good.py").read_text("utf-8") == GOOD


def test_a_page_of_an_earlier_call_is_not_scored(page: Page, run: Run) -> None:
    _write(run, good=GOOD)
    assert page(".").status == 0
    done = page(".", "--format", "json")
    assert [entry["path"] for entry in done.json["files"]] == ["./good.py"]
    named = page("page.html")
    assert (named.status, named.stdout) == (2, b"")
    assert "page.html is one of the files to score" in named.stderr


def _contrast(one: list[float], two: list[float]) -> float:
    """The ratio of WCAG 2."""

    def luminance(colour: list[float]) -> float:
        parts = [part / 255 for part in colour[:3]]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _colours(browser: Browser, selector: str) -> tuple[list[float], list[float]]:
    """Of the text of an element, and of what is behind it."""
    script = f"""(() => {{
        const numbers = text => text.match(/[\\d.]+/g).map(Number);
        let element = document.querySelector({selector!r});
        const ink = numbers(getComputedStyle(element).color);
        for (; element; element = element.parentElement) {{
            const paper = numbers(getComputedStyle(element).backgroundColor);
            if (paper.length === 3 || paper[3] > 0) return [ink, paper];
        }}
        return [ink, [255, 255, 255]];
    }})()"""
    ink, paper = browser.evaluate(script)
    return ink, paper


def test_a_browser_shows_it_in_light_and_dark(
    page: Page, run: Run, browser: Browser, tmp_path: Path
) -> None:
    _write(run, good=GOOD, bad=BAD * 4)
    (run.folder / NAME).write_bytes(HOSTILE.encode())
    page(NAME, "good.py", "bad.py", "--max-bits-per-byte=1")
    browser.resize(1000, 900)
    pictures = set()
    for dark in (False, True):
        browser.look(dark=dark)
        browser.open(run.folder / "page.html")
        browser.evaluate("document.querySelector('.s4').id = 'probe'")
        for selector in ("body", "a:not(.skip)", ".faint", ".alarm", "#probe", ".n", "caption"):
            assert _contrast(*_colours(browser, selector)) >= 4.5, selector
        for level in range(1, 5):
            browser.evaluate(f"document.querySelector('#probe').className = 's{level}'")
            assert _contrast(*_colours(browser, "#probe")) >= 4.5
        pictures.add(browser.picture())
    assert len(pictures) == 2
    assert all(len(picture) > 10_000 for picture in pictures)
    assert [request.partition("#")[0] for request in set(browser.requests)] == [
        (run.folder / "page.html").as_uri()
    ]
    assert browser.complaints == []  # the policy of the page forbids nothing that is in it
    assert browser.evaluate("document.images.length + document.scripts.length") == 0


def test_it_can_be_read_without_colours_and_on_narrow_screens(
    page: Page, run: Run, browser: Browser
) -> None:
    _write(run, bad=BAD + "x" * 3000 + "\n")
    page("bad.py")
    browser.resize(400, 800)
    browser.look(colours=False)
    browser.open(run.folder / "page.html")
    browser.wait("document.documentElement.scrollWidth <= innerWidth")
    browser.evaluate("document.querySelector('mark').id = 'probe'")
    lines = []
    for level in range(1, 5):
        browser.evaluate(f"document.querySelector('#probe').className = 's{level}'")
        style = "getComputedStyle(document.querySelector('#probe'))"
        lines.append(browser.evaluate(f"{style}.borderBottomStyle + {style}.borderBottomWidth"))
    assert lines == ["dotted1px", "solid1px", "solid3px", "double3px"]
    browser.look(media="print")
    browser.open(run.folder / "page.html")
    assert browser.evaluate("getComputedStyle(document.querySelector('.skip')).display") == "none"


def test_the_keyboard_reaches_everything(page: Page, run: Run, browser: Browser) -> None:
    _write(run, good=GOOD, bad=BAD)
    page("good.py", "bad.py")
    browser.resize(1000, 700)
    browser.look()
    browser.open(run.folder / "page.html")
    wanted = browser.evaluate("[...document.links].map(link => link.outerHTML)")
    reached: list[Any] = []
    for _ in wanted:
        browser.press("Tab")
        reached.append(browser.evaluate("document.activeElement.outerHTML"))
        box = "document.activeElement.getBoundingClientRect()"
        browser.wait(f"{box}.left >= 0 && {box}.top >= 0 && {box}.bottom <= innerHeight + 1")
    assert reached == wanted
    assert 'class="skip"' in reached[0]
    browser.open(run.folder / "page.html")
    browser.press("Tab")
    browser.press("Enter")
    browser.wait("location.hash === '#source' && scrollY > 0")
    for _ in wanted:
        browser.press("Tab")
        if browser.evaluate("document.activeElement.hash") == "#f2-l8":
            break
    browser.press("Enter")
    browser.wait("/^#f2-l8$/.test(location.hash)")
    outline = "getComputedStyle(document.querySelector(':target')).outlineStyle"
    assert browser.evaluate(outline) == "solid"


def test_lines_stand_in_their_order(page: Page, run: Run) -> None:
    _write(run, bad=BAD)
    page("bad.py")
    _, outline = _read(run)
    numbers = [int(name.removeprefix("f1-l")) for name in outline.texts if name.startswith("f1-l")]
    assert numbers == list(range(1, 13))
    ranked = [name for name in outline.texts if name.startswith("f1-t") and name != "f1-top"]
    values = [float(re.findall(r", ([\d.]+) bits", outline.texts[name])[0]) for name in ranked]
    assert all(one >= two for one, two in pairwise(values))
