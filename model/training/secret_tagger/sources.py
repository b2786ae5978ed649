"""Real files to plant values in: the recipe's Python corpus, and other formats of its wheels.

Split by package. Lines of real files that may hold findings nobody has labelled are marked as
doubtful.
"""

from __future__ import annotations

import ipaddress
import json
import random
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.filters import path_reason
from training.paths import WORK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOME = WORK / "secrets"
# Packages whose files of other formats measure; none of their files of any format is trained on.
TEST_WHEELS = (
    *("mkdocs", "luigi", "beets", "distributed", "sunpy", "jupyter_server", "fastapi"),
    *("rich", "networkx", "attrs", "requests"),
)
VALIDATION_WHEELS = ("sanic", "mitmproxy", "xarray", "falcon", "flask", "httpx", "click")
FORMS = {
    **dict.fromkeys((".json",), "json"),
    **dict.fromkeys((".yaml", ".yml"), "yaml"),
    **dict.fromkeys((".js", ".ts", ".css"), "javascript"),
    **dict.fromkeys((".md", ".rst", ".txt", "METADATA"), "markdown"),
    **dict.fromkeys((".html", ".xml", ".jinja", ".j2"), "xml"),
    **dict.fromkeys((".ini", ".cfg", ".conf"), "ini"),
    **dict.fromkeys((".sh", ".fish", ".csh"), "shell"),
    **dict.fromkeys((".c", ".h", ".tpl"), "other"),
    ".pyx": "python",
    ".toml": "toml",
    "RECORD": "env",
}
MAX_PACKAGE_BYTES = 400_000
MAX_FORM_BYTES = 150_000
FILE_BYTES = (200, 60_000)
MAX_LINE = 500

_ADDRESS = re.compile(r"[\w.+-]+@(?:[\w-]+\.)+[A-Za-z]{2,}|<EMAIL>|<KEY>")
_RESERVED = re.compile(r"@(?:[\w-]+\.)*(?:example(?:\.\w+)*|test|invalid|localhost|local)$")
_QUAD = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])|(?<![\w:])(?:[0-9a-f]{1,4}:){3,7}")
_CREDITS = re.compile(
    r"author|maintainer|copyright|contribut|credit|written by|created by|thanks|reported by|owner"
    r"|courtesy|signed-off|reviewed-by|originally|inspired by|based on|\bby [A-Z]|©|\(c\) |contact",
    re.IGNORECASE,
)
# A given name and what follows it, not shouted.
_NAMES = re.compile(
    r"(?!The )[A-Z][a-zà-ž'.-]* (?:[A-Z]\. ?|van |de |von |der )*[A-ZÀ-Ž][a-zà-ž'-]+"
    r"|[A-Z]\. ?[A-Z][a-z]"
)
_ALWAYS = re.compile(
    r"/home/\w|/Users/\w|\\Users\\|\b(?:TODO|FIXME|XXX|HACK) ?\([\w .]+\)"
    r"|(?<![\w@./`:\"'])@[a-z][\w-]+ |github\.com/[\w-]+(?![\w/-])|-----BEGIN|://[^\s/@:]+:[^\s/@]+@",
    re.IGNORECASE,
)
_SECRET_WORDS = re.compile(
    r"(?i)(?:pass|pwd|secret|token|api_?key|auth|credential|login|user)\w*[\"']?\]?\s*[:=,(]+\s*"
    r"[rbf]?[\"']?([^\s\"',)]{5,})"
)
_LONG_RANDOM = re.compile(r"[A-Za-z0-9+/_-]{20,}")
_KEYISH = re.compile(r"(?i)key|token|secret|auth|bearer|signature|credential")


@dataclass(frozen=True)
class RealFile:
    """One file of a package, in one of the forms of places.toml."""

    package: str
    path: str
    form: str
    text: str


def doubtful_lines(text: str) -> list[tuple[int, int]]:
    """Character ranges of the lines that may hold findings of their own."""
    found, start = [], 0
    for line in text.split("\n"):
        if is_doubtful(line):
            found.append((start, start + len(line) + 1))
        start += len(line) + 1
    return found


def is_doubtful(line: str) -> bool:
    """Whether a line may hold a value that is a finding."""
    if _ALWAYS.search(line) or (_CREDITS.search(line) and _NAMES.search(line)):
        return True
    if any(not _RESERVED.search(match[0]) for match in _ADDRESS.finditer(line)):
        return True
    if any(_is_global(match[0]) for match in _QUAD.finditer(line)):
        return True
    if any(_looks_random(match[1]) for match in _SECRET_WORDS.finditer(line)):
        return True
    return bool(_KEYISH.search(line)) and any(
        _looks_random(match[0]) for match in _LONG_RANDOM.finditer(line)
    )


def _looks_random(text: str) -> bool:
    """Letters and digits mixed, as in keys and generated passwords."""
    return bool(re.search(r"\d", text) and re.search(r"[A-Za-z]", text))


def _is_global(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return ":" in text


def split_of(package: str, corpus_split: str) -> str:
    """The split of a package here: the corpus' own, less what measures other formats."""
    name = re.sub(r"[-_.]+", "_", package).lower()
    if name in TEST_WHEELS:
        return "test"
    return "validation" if name in VALIDATION_WHEELS else corpus_split


def python_files(split: str) -> Iterator[RealFile]:
    """The Python files of a split, secrets already replaced by <EMAIL> and <KEY>."""
    for part in ("train", "validation", "test"):
        with (WORK / "corpus" / f"{part}.jsonl").open(encoding="utf-8") as stream:
            for row in stream:
                record = json.loads(row)
                wanted = split_of(record["package"], part) == split
                if wanted and len(record["text"]) >= FILE_BYTES[0]:
                    yield RealFile(record["package"], record["path"], "python", record["text"])


def other_files(split: str) -> Iterator[RealFile]:
    """Files of other formats in the corpus' wheels, a limited share of each package."""
    for wheel in sorted((WORK / "wheels").glob("*.whl")):
        package = wheel.name.split("-")[0]
        if split_of(package, "train") == split:
            yield from _of_wheel(wheel, package)


def _of_wheel(wheel: Path, package: str) -> Iterator[RealFile]:
    used: dict[str, int] = {}
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(info.filename for info in archive.infolist())
        random.Random(package).shuffle(names)
        for name in names:
            base = name.rpartition("/")[2]
            form = FORMS.get(base if base in FORMS else "." + base.rpartition(".")[2])
            if form is None or path_reason(name) or sum(used.values()) > MAX_PACKAGE_BYTES:
                continue
            text = readable(archive.read(name), form)
            if text and used.get(form, 0) + len(text) <= MAX_FORM_BYTES:
                used[form] = used.get(form, 0) + len(text)
                yield RealFile(package, name, form, text)


def readable(raw: bytes, form: str) -> str | None:
    """The text of a file that people may have written, or None."""
    if form == "env":
        raw = raw[:6000]
    if not FILE_BYTES[0] <= len(raw) <= FILE_BYTES[1]:
        return None
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None
    return None if max(map(len, text.split("\n"))) > MAX_LINE else text
