"""What a package says of its own licence, and which of its files that leaves to be used.

A Debian package's copyright file says it file by file
(machine-readable debian/copyright, version 1.0); the others name one licence for a package.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import translate

# What a package may be under, and what a single file in such a package may be under besides.
_PACKAGE = re.compile(r"\b(?:MIT|Expat|X11|0?BSD|Apache|PSF|Python|ISC|zlib)", re.IGNORECASE)
_FILE = re.compile(_PACKAGE.pattern + r"|\b(?:curl|BSL|CC0|public-domain)", re.IGNORECASE)
_BAD = re.compile(
    r"\b[AL]?GPL|\bMPL|Mozilla|EUPL|CeCILL|Affero|CDDL|EPL|non-?free|CC-BY|GFDL", re.IGNORECASE
)


@dataclass(frozen=True)
class Verdict:
    """Which files may be used: all but those whose path matches `refused`."""

    allowed: bool
    refused: re.Pattern[str] | None
    said: str

    def permits(self, path: str) -> bool:
        """Whether the file at `path` may be used."""
        return self.allowed and not (self.refused and self.refused.match(path))


def is_permissive(expression: str, allowed: re.Pattern[str] = _PACKAGE) -> bool:
    """Whether one of the offered alternatives consists of allowed licences only."""
    alternatives = re.split(r"\s+or\s+|\s*\|\s*", expression, flags=re.IGNORECASE)
    return any(allowed.search(part) and not _BAD.search(part) for part in alternatives)


def of_debian(text: str) -> Verdict:
    """From debian/copyright: by its stanzas, or by its words where it has none."""
    stanzas = re.findall(r"(?ms)^Files:(.*?)^(?:Copyright|License):.*?(?=^\s*$|\Z)", text)
    if not stanzas:
        words = bool(_PACKAGE.search(text)) and not _BAD.search(text)
        return Verdict(words, None, "free text")
    refused, rest = [], None
    for block in re.split(r"\n\s*\n", text):
        files = re.search(r"(?ms)^Files:(.*?)^\w", block)
        licence = re.search(r"(?m)^License:[ \t]*(.*)$", block)
        if files is None or licence is None:
            continue
        globs = files.group(1).split()
        if "*" in globs:
            rest = licence.group(1)
        elif not is_permissive(licence.group(1), _FILE):
            refused += [glob.removeprefix("./") for glob in globs]
    pattern = re.compile("|".join(translate(glob) for glob in refused)) if refused else None
    return Verdict(rest is not None and is_permissive(rest), pattern, rest or "no stanza for *")


def of_npm(package_json: str) -> Verdict:
    """From package.json."""
    licence = json.loads(package_json).get("license", "")
    said = licence if isinstance(licence, str) else str(licence.get("type", ""))
    return Verdict(is_permissive(said), None, said)


def of_python(metadata: str) -> Verdict:
    """From PKG-INFO or METADATA: its licence fields in one line."""
    head = metadata.split("\n\n", maxsplit=1)[0]
    found = re.findall(
        r"(?m)^(?:License-Expression: |License: |Classifier: License :: )(.{0,80})", head
    )
    said = " ; ".join(found)
    return Verdict(bool(_PACKAGE.search(said)) and not _BAD.search(said), None, said)
