"""Other names of the labels of a classifier of programming languages."""

from collections.abc import Iterable
from types import MappingProxyType

LABEL_ALIASES = MappingProxyType(
    {
        "bash": "Shell",
        "sh": "Shell",
        "zsh": "Shell",
        "cmd": "Batch",
        "cplusplus": "C++",
        "cpp": "C++",
        "cs": "C#",
        "csharp": "C#",
        "golang": "Go",
        "hs": "Haskell",
        "js": "JavaScript",
        "kt": "Kotlin",
        "make": "Makefile",
        "md": "Markdown",
        "ml": "OCaml",
        "objc": "Objective-C",
        "patch": "Diff",
        "pl": "Perl",
        "proto": "Protocol Buffers",
        "protobuf": "Protocol Buffers",
        "ps1": "PowerShell",
        "py": "Python",
        "rb": "Ruby",
        "rs": "Rust",
        "rst": "reStructuredText",
        "text": "Plain text",
        "ts": "TypeScript",
        "txt": "Plain text",
        "yml": "YAML",
    }
)
"""Names of languages and their file types that people use instead of a label -> label."""


def aliases_of(labels: Iterable[str]) -> dict[str, list[str]]:
    """The aliases of those labels that have any."""
    known: dict[str, list[str]] = {label: [] for label in labels}
    for alias, label in LABEL_ALIASES.items():
        if label in known:
            known[label].append(alias)
    return {label: aliases for label, aliases in known.items() if aliases}
