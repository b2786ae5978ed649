"""Named code blocks of Markdown files: short texts as people paste them, in many languages.

A block is labelled by the name after its fence, and kept where its content agrees with it.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter

from training.corpus import Document
from training.languages import contents, labels, telling

# Characters of one language that one package's blocks may give.
MOST = 30_000
_BLOCK = re.compile(
    r"^([ \t]*)```[ \t]*\{?\.?([\w+#.-]+)[^\n]*\n(.*?)^[ \t]*```[ \t]*$", re.MULTILINE | re.DOTALL
)
_PROMPT = re.compile(r"^(?:[$>%#] |>>> |\w*[#>]\s)", re.MULTILINE)
_ELISION = re.compile(r"^\s*\.\.\.\s*$", re.MULTILINE)
_LEAST = 60
# Names that are put before anything: output, prose and sessions.
_REFUSED = frozenset({"Plain text", "Markdown", "Jupyter Notebook"})


def blocks_of(documents: list[Document]) -> list[Document]:
    """The blocks of all Markdown files of the training split, as documents of their own."""
    found: list[Document] = []
    used: Counter[tuple[str, str]] = Counter()
    for document in documents:
        if document.split != "train" or not document.path.startswith("Markdown:"):
            continue
        for number, (label, text) in enumerate(_blocks(document.text)):
            key = (document.package, label)
            if used[key] < MOST:
                used[key] += len(text)
                path = f"{label}:{document.path.partition(':')[2]}#{number}"
                found.append(Document(document.package, "train", path, text, None))
    return found


def _blocks(text: str) -> list[tuple[str, str]]:
    kept = []
    for _, name, body in _BLOCK.findall(text):
        label = labels.of_name(name)
        block = textwrap.dedent(_ELISION.sub("", body))
        if label is None or label in _REFUSED or len(block) < _LEAST:
            continue
        if _PROMPT.search(block) or not contents.agrees(label, block):
            continue
        if telling.file_tells(label, block):
            kept.append((label, block))
    return kept
