"""Which language a file is in, told by its name and checked by its content.

Knows nothing of packages, archives or models: a path and its text in, a label or None out. None
means that the name says nothing certain, or that the content contradicts it: such a file is left
out, because a wrong label costs more than a missing file.
"""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath

from training.languages import telling

_BY_SUFFIX = {
    ".py": "Python",
    ".js": "JavaScript",
    ".mjs": "JavaScript",
    ".cjs": "JavaScript",
    ".jsx": "JavaScript",
    ".ts": "TypeScript",
    ".tsx": "TypeScript",
    ".mts": "TypeScript",
    ".java": "Java",
    ".c": "C",
    ".cc": "C++",
    ".cpp": "C++",
    ".cxx": "C++",
    ".hpp": "C++",
    ".hh": "C++",
    ".hxx": "C++",
    ".h": "header",
    ".cs": "C#",
    ".go": "Go",
    ".rs": "Rust",
    ".rb": "Ruby",
    ".rake": "Ruby",
    ".gemspec": "Ruby",
    ".php": "PHP",
    ".pl": "Perl",
    ".pm": "Perl",
    ".t": "Perl",
    ".sh": "Shell",
    ".bash": "Shell",
    ".zsh": "Shell",
    ".sql": "SQL",
    ".pgsql": "SQL",
    ".psql": "SQL",
    ".html": "HTML",
    ".htm": "HTML",
    ".css": "CSS",
    ".json": "JSON",
    ".yaml": "YAML",
    ".yml": "YAML",
    ".toml": "TOML",
    ".orig": "cargo",
    ".md": "Markdown",
    ".markdown": "Markdown",
    ".rst": "reStructuredText",
    ".xml": "XML",
    ".xsd": "XML",
    ".xsl": "XML",
    ".xslt": "XML",
    ".csproj": "XML",
    ".vcxproj": "XML",
    ".targets": "XML",
    ".nuspec": "XML",
    ".plist": "XML",
    ".mk": "Makefile",
    ".am": "Makefile",
    ".dockerfile": "Dockerfile",
    ".txt": "Plain text",
    ".lua": "Lua",
    ".kt": "Kotlin",
    ".kts": "Kotlin",
    ".swift": "Swift",
    ".m": "Objective-C",
    ".ini": "INI",
    ".cfg": "INI",
    ".desktop": "INI",
    ".service": "INI",
    ".socket": "INI",
    ".timer": "INI",
    ".wrap": "INI",
    ".cmake": "CMake",
    ".patch": "Diff",
    ".diff": "Diff",
    ".hs": "Haskell",
    ".ml": "OCaml",
    ".mli": "OCaml",
    ".bat": "Batch",
    ".cmd": "Batch",
    ".ps1": "PowerShell",
    ".psm1": "PowerShell",
    ".psd1": "PowerShell",
    ".proto": "Protocol Buffers",
}
_BY_NAME = {
    "makefile": "Makefile",
    "gnumakefile": "Makefile",
    "makefile.in": "Makefile",
    "dockerfile": "Dockerfile",
    "cmakelists.txt": "CMake",
    "rakefile": "Ruby",
    "gemfile": "Ruby",
    ".editorconfig": "INI",
    ".coveragerc": "INI",
    ".flake8": "INI",
    ".pylintrc": "INI",
    "tox.ini": "INI",
    "readme": "Plain text",
    "authors": "Plain text",
    "changes": "Plain text",
    "changelog": "Plain text",
    "news": "Plain text",
    "install": "Plain text",
    "todo": "Plain text",
    "license": "Plain text",
    "hacking": "Plain text",
    "contributors": "Plain text",
    "cargo.lock": "TOML",
    "poetry.lock": "TOML",
    "pipfile": "TOML",
}
LABELS = (
    *("Batch", "C", "C#", "C++", "CMake", "CSS", "Diff", "Dockerfile", "Go", "HTML"),
    *("Haskell", "INI", "JSON", "Java", "JavaScript", "Kotlin", "Lua", "Makefile", "Markdown"),
    *("OCaml", "Objective-C", "PHP", "Perl", "Plain text", "PowerShell", "Protocol Buffers"),
    *("Python", "Ruby", "Rust", "SQL", "Shell", "Swift", "TOML", "TypeScript"),
    *("XML", "YAML", "reStructuredText"),
)
_CPLUSPLUS = re.compile(
    r"^\s*(?:class\s+\w+|namespace\b|template\s*<|using\s+\w|public:|private:|protected:)"
    r"|\bstd::|\bvirtual\b|#\s*include\s*<(?:string|vector|map|memory|cstdint|cstddef|utility)>"
    r"|#\s*include\s*<[\w/]+>|\bconstexpr\b|\bnullptr\b|\boperator\s*[=<>+*\[(]|\w::\w",
    re.MULTILINE,
)
# A guard for C++ readers does not make a C header C++.
_EXTERN_C = re.compile(r"#\s*ifdef __cplusplus[\s\S]{0,200}?#\s*endif")
_COMMENTS = re.compile(r"/\*[\s\S]*?\*/|//[^\n]*")
_OBJECTIVE_C = re.compile(
    r"^\s*(?:@interface|@implementation|@protocol|@import|@class)\b|^#import\b|@\""
    r"|\bNS_(?:ENUM|OPTIONS|ASSUME_NONNULL_BEGIN)\b",
    re.MULTILINE,
)
_RST = re.compile(r"^\.\. [\w-]+::|^(?:={4,}|-{4,}|~{4,})\s*$|:\w+:`|``\w", re.MULTILINE)
_MARKDOWN = re.compile(
    r"^#{1,6} \S|^```|\]\(\S+\)|^[*-] \S|^(?:={3,}|-{3,})\s*$|\*\*\w|`\w|^\d+\. \S", re.MULTILINE
)
_SHELL_FIRST = re.compile(r"#!.*\b(?:ba|da|z|k)?sh\b")
_FIRST_LINE = (
    (_SHELL_FIRST, "Shell"),
    (re.compile(r"#!.*\bperl"), "Perl"),
    (re.compile(r"#!.*\bpython"), "Python"),
    (re.compile(r"#!.*\bruby"), "Ruby"),
    (re.compile(r"#!.*\bphp"), "PHP"),
    (re.compile(r"#!.*\bnode"), "JavaScript"),
    (re.compile(r"#!.*\blua"), "Lua"),
)
_NEEDED = {
    "PHP": re.compile(r"<\?(?:php|=)"),
    "HTML": re.compile(r"<\w+[^>]*>[\s\S]*</\w+>"),
    "XML": re.compile(r"^\s*(?:<!--[\s\S]*?-->\s*)?<(?:\?xml|!DOCTYPE|[\w:.-]+[\s>])"),
    "CSS": re.compile(r"[{][^{}]*:[^{}]*;?[^{}]*[}]"),
    "Perl": re.compile(
        r"(?:\bmy\s*[\$@%(]|\buse\s+[\w:]+|\$\w+\s*=|\bsub\s+\w+|^=\w+)", re.MULTILINE
    ),
    "Makefile": re.compile(r"^[\w.$(){}/%@-]+\s*(?:[:+?]?=|:)", re.MULTILINE),
    "Dockerfile": re.compile(r"^\s*FROM\s+\S+", re.MULTILINE | re.IGNORECASE),
    "INI": re.compile(r"^\[[^\]\n]+\]\s*$", re.MULTILINE),
    "TOML": re.compile(r"^(?:\[.+\]|[\w.\"'-]+\s*=\s*\S)", re.MULTILINE),
    "YAML": re.compile(r"^\s*(?:- )?[^\s#:][^:\n]*:(?:\s|$)|^\s*- \S", re.MULTILINE),
    "Markdown": _MARKDOWN,
    "reStructuredText": _RST,
    "Diff": re.compile(r"^--- [\s\S]*?^\+\+\+ [\s\S]*?^@@ ", re.MULTILINE),
    "SQL": re.compile(
        r"\b(?:select|insert|update|delete|create|alter|drop|with|grant|set|explain|merge"
        r"|truncate|call|values|begin|declare)\b",
        re.IGNORECASE,
    ),
    "Batch": re.compile(r"^\s*(?:@?echo|rem|set|if|call|goto|::|@)", re.MULTILINE | re.IGNORECASE),
    "TypeScript": re.compile(r"\b(?:import|export|const|let|function|class|interface|type|var)\b"),
    "Objective-C": re.compile(r"@(?:interface|implementation|import|protocol|end)|#import"),
}
_REFUSED = {
    "TypeScript": re.compile(r"^\s*(?:<\?xml|<!DOCTYPE TS)"),
    "HTML": re.compile(r"\{%|\{\{|<%|<\?(?:php|xml)|<jsp:|th:\w+="),
    "JavaScript": re.compile(r"^\s*(?:<|\{%)|@flow|\bimport type\b|__esModule|# sourceMappingURL="),
    "CSS": re.compile(r"\{%|\{\{|@include|@mixin|^\$\w+:", re.MULTILINE),
    "YAML": re.compile(r"\{\{-?\s*(?:if|range|define|template|include)|\{%"),
    "XML": re.compile(r"<html|\{%|\{\{", re.IGNORECASE),
    "SQL": re.compile(r"\{%|\{\{|<%"),
    "Python": re.compile(r"^\s*\{%"),
    "PHP": re.compile(r"^\s*\{%"),
    "C": re.compile(r"^\s*(?:class\s+\w+|namespace\b|template\s*<|@implementation)", re.MULTILINE),
    "Diff": re.compile(r"\x00"),
}
_TEXT_REFUSED = re.compile(
    r"^\.\. |^#{1,6} |^```|^\s*(?:<\w+|\{|\}|#include|import |def |class |SELECT )|;\s*$|\{\{|^@",
    re.MULTILINE,
)
_TEXT_REFUSED_NAME = re.compile(
    r"requirements|constraints|robots|manifest|test|data|dict|words|list|std(?:err|out)|result|expect"
    r"|output|baseline|golden|tags|version|sources|entry_points|top_level|installed|links"
)
_LETTERS = re.compile(r"[A-Za-z]{2,}")
MIN_WORD_SHARE = 0.65
MIN_WORDS_OF_A_LINE = 3


def label_of(path: str, text: str) -> str | None:
    """The language of a file that lies at `path` inside its package."""
    name = PurePosixPath(path).name.lower()
    found = _by_name(name) or _by_first_line(name, text)
    if found == "header":
        found = header_language(text)
    elif found == "cargo":
        found = "TOML" if name == "cargo.toml.orig" else None
    elif found == "Plain text" and not _is_prose(name, text):
        found = None
    if found is None or found not in LABELS or not _content_agrees(found, text):
        return None
    return found


def certain_label_of(path: str, text: str) -> str | None:
    """As `label_of`; None too for a file that says too little of its language."""
    found = label_of(path, text)
    return found if found is not None and telling.file_tells(found, text) else None


def group_of(path: str) -> str | None:
    """What the name alone says, "script" for a name without a suffix, None for nothing of use."""
    name = PurePosixPath(path).name.lower()
    return _by_name(name) or (None if "." in name[1:] else "script")


def _by_name(name: str) -> str | None:
    known = _BY_NAME.get(name)
    if known is not None:
        return known
    if name.startswith("dockerfile."):
        return "Dockerfile"
    return _BY_SUFFIX.get(PurePosixPath(name).suffix)


def _by_first_line(name: str, text: str) -> str | None:
    """Scripts without a suffix say in their first line who runs them."""
    if "." in name[1:]:
        return None
    first = text.partition("\n")[0]
    return next((label for pattern, label in _FIRST_LINE if pattern.match(first)), None)


def header_language(text: str) -> str:
    """C, C++ or Objective-C of a `.h` file."""
    if _OBJECTIVE_C.search(text):
        return "Objective-C"
    code = _COMMENTS.sub(" ", _EXTERN_C.sub(" ", text))
    return "C++" if _CPLUSPLUS.search(code) else "C"


def _is_prose(name: str, text: str) -> bool:
    """Words make most of it, and no markup or code shows."""
    if _TEXT_REFUSED_NAME.search(name) or len(_TEXT_REFUSED.findall(text)) > text.count("\n") / 50:
        return False
    words = _LETTERS.findall(text)
    lines = sum(not line.isspace() for line in text.splitlines() if line)
    return len(words) >= MIN_WORDS_OF_A_LINE * lines and (
        sum(map(len, words)) >= MIN_WORD_SHARE * len("".join(text.split()))
    )


def _content_agrees(label: str, text: str) -> bool:
    if label == "JSON":
        return _is_json(text)
    needed, refused = _NEEDED.get(label), _REFUSED.get(label)
    if refused is not None and refused.search(text):
        return False
    return needed is None or needed.search(text) is not None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False
