"""What of a text tells its language: all but comments, other languages inside it, and literals.

One rule for every split: it decides which files belong
to the corpus and which lines can be asked for, by the text and its label alone.
"""

from __future__ import annotations

import re

_STRINGS = r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
_SLASHES = rf"{_STRINGS}|/\*[\s\S]*?(?:\*/|\Z)|//[^\n]*"
_HASH = rf"{_STRINGS}|(?:^|(?<=\s))#[^\n]*"
_PROSE_CODE = (
    r"^[ \t]*(?P<fence>```+|~~~+)[\s\S]*?(?:^[ \t]*(?P=fence)[^\n]*|\Z)|<!--[\s\S]*?(?:-->|\Z)"
)
_MARKUP = (
    r"<!--[\s\S]*?(?:-->|\Z)|<!\[CDATA\[[\s\S]*?(?:\]\]>|\Z)"
    r"|<(?P<inner>script|style|pre)\b[^>]*>[\s\S]*?(?:</(?P=inner)>|\Z)"
)
_BRACED = (
    *("C", "C#", "C++", "Go", "Java", "JavaScript", "Kotlin", "Objective-C", "Protocol Buffers"),
    *("Rust", "Swift", "TypeScript", "D", "Dart", "Groovy", "Less", "Scala", "SCSS", "Solidity"),
    *("Verilog", "Zig"),
)
_SEMICOLON = r"\"(?:\\.|[^\"\\])*\"|;[^\n]*"
_PERCENT = r"(?<!\\)%[^\n]*"
# What says nothing of the language, by label. Strings stand first: they may hold comment signs.
_SILENT = {
    **dict.fromkeys(_BRACED, _SLASHES),
    **dict.fromkeys(("Makefile", "Shell", "Dockerfile", "CMake"), _HASH),
    **dict.fromkeys(("AWK", "Elixir", "GraphQL", "Meson", "Nim", "R", "Tcl"), _HASH),
    **dict.fromkeys(("Clojure", "Common Lisp", "Emacs Lisp", "Scheme"), _SEMICOLON),
    **dict.fromkeys(("Ada", "VHDL"), r"\"[^\"\n]*\"|--[^\n]*"),
    **dict.fromkeys(("Terraform", "Nix"), rf"{_HASH}|/\*[\s\S]*?(?:\*/|\Z)"),
    "Assembly": r"/\*[\s\S]*?(?:\*/|\Z)|;[^\n]*|^\s*(?:#|@|//)[^\n]*",
    "Erlang": rf"\"(?:\\.|[^\"\\])*\"|{_PERCENT}",
    "Fortran": r"^[cC*][^\n]*|\"[^\"\n]*\"|'[^'\n]*'|![^\n]*",
    "Julia": rf"#=[\s\S]*?(?:=#|\Z)|\"\"\"[\s\S]*?(?:\"\"\"|\Z)|{_HASH}",
    "LaTeX": _PERCENT,
    "MATLAB": r"^\s*%\{\s*$[\s\S]*?(?:^\s*%\}\s*$|\Z)|'[^'\n]*'|\"[^\"\n]*\"|[%#][^\n]*",
    "Pascal": r"\{[\s\S]*?(?:\}|\Z)|\(\*[\s\S]*?(?:\*\)|\Z)|'[^'\n]*'|//[^\n]*",
    "Prolog": rf"/\*[\s\S]*?(?:\*/|\Z)|{_PERCENT}",
    "Roff": r"^['.]\s*\\\"[^\n]*",
    "Vim script": r"^\s*\"[^\n]*",
    **dict.fromkeys(
        ("Vue", "Svelte"),
        r"<!--[\s\S]*?(?:-->|\Z)|<(?P<inner>script|style)\b[^>]*>[\s\S]*?(?:</(?P=inner)>|\Z)",
    ),
    **dict.fromkeys(("YAML", "TOML"), r"^\s*#[^\n]*"),
    "PHP": rf"(?:\A(?!<\?)|\?>)[\s\S]*?(?=<\?|\Z)|{_SLASHES}|#[^\n]*",
    "Python": rf"\"\"\"[\s\S]*?(?:\"\"\"|\Z)|'''[\s\S]*?(?:'''|\Z)|{_HASH}",
    "Ruby": rf"^=begin\b[\s\S]*?(?:^=end\b|\Z)|{_HASH}",
    "Perl": rf"^=[a-z]\w*[\s\S]*?(?:^=cut\b[^\n]*|\Z)|^__(?:END|DATA)__[\s\S]*|{_HASH}",
    "PowerShell": rf"<#[\s\S]*?(?:#>|\Z)|{_HASH}",
    "INI": r"^\s*[#;][^\n]*",
    "CSS": r"/\*[\s\S]*?(?:\*/|\Z)",
    "SQL": rf"{_STRINGS}|/\*[\s\S]*?(?:\*/|\Z)|--[^\n]*",
    "Lua": rf"--\[(?P<level>=*)\[[\s\S]*?(?:\](?P=level)\]|\Z)|{_STRINGS}|--[^\n]*",
    "Haskell": r"\{-[\s\S]*?(?:-\}|\Z)|\"(?:\\.|[^\"\\\n])*\"|--[^\n]*",
    "OCaml": r"\(\*[\s\S]*?(?:\*\)|\Z)|\"(?:\\.|[^\"\\])*\"",
    "Batch": r"^\s*@?(?:rem\b|::)[^\n]*",
    "HTML": _MARKUP,
    "XML": _MARKUP,
    "Markdown": _PROSE_CODE,
    "reStructuredText": (
        r"^[ \t]*\.\. (?:code|code-block|sourcecode)::[^\n]*\n(?:[ \t]+[^\n]*\n|[ \t]*\n)*"
        r"|(?<=::)\n[ \t]*\n(?:[ \t]+[^\n]*\n|[ \t]*\n)+"
    ),
}
_PATTERNS = {
    label: re.compile(rule, re.MULTILINE | re.IGNORECASE) for label, rule in _SILENT.items()
}
# Formats whose lines are data: their words may all stand in strings.
DATA = frozenset(
    {"JSON", "YAML", "TOML", "INI", "HTML", "XML", "Markdown", "Plain text", "Diff"}
    | {"reStructuredText", "CSV", "Jupyter Notebook", "LaTeX", "Roff"}
)
# Text of these that shows none of it is prose, or another language.
_MARKS = {
    "HTML": re.compile(r"</?[A-Za-z]"),
    "XML": re.compile(r"<[/?!]?[A-Za-z]"),
    "CSV": re.compile(r"[,;\t|]"),
    "Jupyter Notebook": re.compile(
        r"\"(?:cells|cell_type|metadata|outputs|source|execution_count|output_type)\"|\\n\",?$",
        re.MULTILINE,
    ),
    "LaTeX": re.compile(r"\\[A-Za-z@]|\$"),
    # Plain CSS is both of these too.
    "Less": re.compile(
        r"(?<!\w)@(?!media|import|font-face|charset|keyframes|supports|page)[\w-]+|^\s*[.#][\w-]+\(.*\)"
        r"|&|\bwhen\b|~[\"'`]|^\s*//",
        re.MULTILINE,
    ),
    "SCSS": re.compile(
        r"\$[\w-]+|@(?:include|mixin|extend|use|forward|if|else|each|for|function|return)\b|&"
        r"|#\{|^\s*//",
        re.MULTILINE,
    ),
    "Roff": re.compile(r"^[.'][A-Za-z]|\\f[BIRP]|\\\(|\\-", re.MULTILINE),
    "Svelte": re.compile(
        r"\{[#/:@]|\b(?:on|bind|class|use|transition|in|out|let):\w|\{\w[\w.]*\}|<svelte:|<script"
    ),
    "Vue": re.compile(r"\bv-\w+|\s[:@#][\w.-]+=|</?template|<script|\{\{|<slot"),
    "Diff": re.compile(r"^(?:[+-](?![+-])|@@ )", re.MULTILINE),
    "Markdown": re.compile(
        r"^#{1,6} \S|\]\(\S+\)|\]\[|^\s*[*+-] \S|^(?:={3,}|-{3,})\s*$|\*\*\w|`\w"
        r"|^\s*\d+\. \S|^\s*\|",
        re.MULTILINE,
    ),
    "reStructuredText": re.compile(
        r"^\s*\.\. |^([=~^\"'*+#-])\1{3,}\s*$|:[\w:]+:`|``\S|`_|^\s*:[\w ]+:|^\s*[*-] \S",
        re.MULTILINE,
    ),
}
_WORD = re.compile(r"[^\W\d]\w+")
_BLANKED = re.compile(r"[^\n]")
SNIPPET_LETTERS = 15
FILE_LETTERS = 40
FILE_LINES = 3


def masked(label: str, text: str) -> str:
    """The text with everything silent made blank; lines stay where they are."""
    pattern = _PATTERNS.get(label)
    return pattern.sub(lambda m: _BLANKED.sub(" ", m.group()), text) if pattern else text


def letters_of(line: str) -> int:
    """Characters of words of at least two."""
    return sum(map(len, _WORD.findall(line)))


def shows(label: str, text: str) -> bool:
    """Whether a masked text has what tells its format from prose, where that is a question."""
    mark = _MARKS.get(label)
    return mark is None or mark.search(text) is not None


def lines_tell(label: str, lines: list[str], letters: list[int]) -> bool:
    """Whether following masked lines can be asked for: words in two of three lines, and a mark.

    `letters`: what `letters_of` says of each line.
    """
    worded = sum(count > 0 for count in letters)
    enough = 3 * worded >= 2 * len(lines) and sum(letters) >= SNIPPET_LETTERS
    return enough and shows(label, "\n".join(lines))


def file_tells(label: str, text: str) -> bool:
    """Whether a whole file says its language: some words that are neither comment nor literal."""
    rest = masked(label, text)
    letters = [letters_of(line) for line in rest.split("\n")]
    least = 1 if label in DATA else FILE_LINES
    return (
        sum(count > 0 for count in letters) >= least
        and sum(letters) >= FILE_LETTERS
        and shows(label, rest)
    )
