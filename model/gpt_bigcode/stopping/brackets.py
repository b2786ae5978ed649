"""Just enough of a lexer to find open brackets and function headers, without a grammar.

Strings and comments are skipped. Three kinds of languages are told apart, by a count of tell-tale
line ends.
"""

import re
from copy import copy
from enum import Enum
from types import MappingProxyType
from typing import Self

WINDOW_CHARACTERS = 8192


class Syntax(Enum):
    """How a language shows its blocks."""

    INDENT = "indent"  # Python: indentation, # comments, triple quotes
    BRACES = "braces"  # C, Java, JavaScript, Go, Rust: braces, // and /* comments
    WORDS = "words"  # shell, Ruby, Lua: fi, done, end; # comments


_TELLS = MappingProxyType(
    {
        Syntax.INDENT: re.compile(
            r"^[ \t]*(?:(?:async[ ]+)?(?:def|class|if|elif|else|for|while|with|try|except|finally)"
            r"\b.*:|@\w.*|(?:import|from)[ ]+[\w.]+(?:[ ]+(?:import|as)\b.*[^;])?)[ \t]*$",
            re.MULTILINE,
        ),
        # A brace after = ( [ : , opens data in every language.
        Syntax.BRACES: re.compile(
            r"(?:(?:^|[\w)>])[ \t]*\{|;|^[ \t]*//.*|^#(?:include|define|ifn?def)\b.*)[ \t]*$",
            re.MULTILINE,
        ),
        Syntax.WORDS: re.compile(
            r"^#!.*(?:sh|ruby|lua)\b|\b(?:then|do)[ \t]*$|^[ \t]*(?:fi|done|esac|end)\b"
            r"|^[ \t]*[\w-]+ ?\(\) ?\{[ \t]*$",
            re.MULTILINE,
        ),
    }
)
_MODIFIERS = r"(?:export|default|public|private|protected|static|async|pub|const|inline|local)"
_CONTROL = r"(?:if|for|foreach|while|until|switch|catch|else|elif|return|do|with|case|new|throw)"
_FUNCTIONS = MappingProxyType(
    {
        Syntax.INDENT: re.compile(r"[ \t]*(?:async[ ]+)?def\b"),
        Syntax.BRACES: re.compile(
            rf"[ \t]*(?:{_MODIFIERS}[ ]+)*(?:function|func|fn|fun)\b"
            rf"|(?![ \t]*\}}?[ \t]*{_CONTROL}\b)"
            r"(?:[^=;#]*\w[ ]*\([^;]*\)[^;(){]*\{[ \t]*$"  # name(...) {
            r"|[ \t]*[\w:<>*&]+[ ][^=;#]*\w\([^;]*\)[ \t]*$)"  # type name(...), brace below
        ),
        Syntax.WORDS: re.compile(
            rf"[ \t]*(?:{_MODIFIERS}[ ]+)*(?:function|def)\b|[ \t]*[\w-]+[ ]?\(\)[ ]?\{{?[ \t]*$"
        ),
    }
)
_CLOSES = MappingProxyType({")": "(", "]": "[", "}": "{"})
# Brackets in which a line break does not end a statement; braces hold blocks elsewhere.
_INNER = MappingProxyType({Syntax.INDENT: "([{", Syntax.BRACES: "([", Syntax.WORDS: "(["})


def guess_syntax(text: str) -> Syntax:
    """The kind of language; Python where nothing tells."""
    counts = {syntax: len(pattern.findall(text)) for syntax, pattern in _TELLS.items()}
    # Words are rare and telling, semicolons and "import" are everywhere.
    if counts[Syntax.WORDS] * 3 > max(counts[Syntax.BRACES], counts[Syntax.INDENT]):
        return Syntax.WORDS
    return Syntax.BRACES if counts[Syntax.BRACES] > counts[Syntax.INDENT] else Syntax.INDENT


def is_function_header(line: str, syntax: Syntax) -> bool:
    """Whether a line begins a function."""
    return _FUNCTIONS[syntax].match(line) is not None


def tail_window(text: str, size: int = WINDOW_CHARACTERS) -> str:
    """The last 8 Ki characters, or `size`, from a line at the left margin if there is one.

    A cut inside a string would turn strings and code around; a definition is never inside one.
    """
    if len(text) <= size:
        return text
    window = text[-size:]
    top = re.search(
        r"^(?:def|class|async|@\w|func|fn|pub|public|static|export)\b", window, re.MULTILINE
    )
    return window[top.start() if top else window.find("\n") + 1 :]


class BracketReader:
    """Reads characters and keeps the stack of open brackets."""

    def __init__(self, syntax: Syntax) -> None:
        self._syntax = syntax
        self._stack: list[str] = []
        self._quote = ""  # the quotes that close the string, "" outside
        self._comment = ""  # the text that closes the comment, "" outside
        self._recent = ""  # the last characters, as far as they may begin something
        self._escaped = False

    @property
    def depth(self) -> int:
        """Open brackets."""
        return len(self._stack)

    @property
    def quoted(self) -> bool:
        """Inside a string or comment that may go over several lines."""
        return len(self._quote) > 1 or self._quote == "`" or self._comment == "*/"

    @property
    def in_code(self) -> bool:
        """Neither in a string nor in a comment."""
        return not self._quote and not self._comment

    @property
    def open_brackets(self) -> str:
        """The open brackets, outermost first."""
        return "".join(self._stack)

    @property
    def in_string(self) -> bool:
        """Inside a string of any kind."""
        return bool(self._quote)

    @property
    def brace_depth(self) -> int:
        """Brackets up to the innermost open brace, itself included; 0 if none is open."""
        braces = [place for place, bracket in enumerate(self._stack) if bracket == "{"]
        return braces[-1] + 1 if braces else 0

    def inside(self, base: int) -> bool:
        """Whether the innermost of more than `base` open brackets is one that lines go on in."""
        return self.depth > base and self._stack[-1] in _INNER[self._syntax]

    def copy(self) -> Self:
        """Another reader at the same place."""
        other = copy(self)
        other._stack = self._stack[:]  # noqa: SLF001  # of its own class
        return other

    def feed(self, char: str) -> None:
        """Read one character."""
        if self._comment:
            self._read_comment(char)
        elif self._quote:
            self._read_string(char)
        else:
            self._read_code(char)
        if char == "\n":
            self._end_line()

    def _read_comment(self, char: str) -> None:
        self._recent = (self._recent + char)[-2:]
        if self._recent.endswith(self._comment):
            self._comment = self._recent = ""

    def _read_string(self, char: str) -> None:
        if self._escaped:
            self._escaped = False
            return
        self._escaped = char == "\\"
        self._recent = (self._recent + char)[-3:]
        if self._recent.endswith(self._quote):
            # An empty string may be the first two of three quotes.
            triple = self._syntax is Syntax.INDENT and self._recent == 2 * char
            self._quote, self._recent = "", 2 * char if triple else ""

    def _read_code(self, char: str) -> None:
        before, self._recent = self._recent, char
        if char in "\"'`":
            triple = before == 2 * char
            lifetime = self._syntax is Syntax.BRACES and char == "'" and before in ("<", "&")
            if not lifetime:
                self._quote = 3 * char if triple else char
            self._recent = "" if triple else char
        elif self._syntax is Syntax.BRACES and before + char in ("//", "/*"):
            self._comment, self._recent = "\n" if char == "/" else "*/", ""
        elif self._syntax is not Syntax.BRACES and char == "#" and before in ("", " ", "\t", "\n"):
            self._comment = "\n"
        elif char in "([{":
            self._stack.append(char)
        elif char in ")]}":
            self._close(_CLOSES[char])

    def _close(self, bracket: str) -> None:
        """Close up to the bracket that fits; one that fits nowhere (shell's `a)`) closes none.

        Only a brace reaches beyond a brace: a stray parenthesis leaves the blocks alone.
        """
        reach = 0 if bracket == "{" else self.brace_depth
        if bracket in self._stack[reach:]:
            while self._stack.pop() != bracket:
                pass

    def _end_line(self) -> None:
        """A plain string ends with its line: an apostrophe in prose opens none for long."""
        self._recent = "\n"
        if not self.quoted:
            self._quote = ""
            self._escaped = False
