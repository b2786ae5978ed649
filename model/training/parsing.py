"""Does an unfinished Python file parse as far as it goes?

The rule: drop the last line if it has no end, then the last statement if a bracket or a string in
it is still open; close the blocks that are still open (`pass` under a header, `finally` after a
`try`, a function after a decorator); the result must parse.
"""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from dataclasses import dataclass


@dataclass(frozen=True)
class LogicalLine:
    """One statement's line: where it ends (1-based last line), its indent, first and last token."""

    last_line: int
    indent: str
    first: str
    last: str


def parses_so_far(text: str) -> bool:
    """The rule above."""
    whole_lines = text[: text.rfind("\n") + 1]
    lines = logical_lines(whole_lines)
    if lines is None:
        return False
    if not lines:
        return True
    physical = whole_lines.split("\n")
    kept = "\n".join(physical[: lines[-1].last_line]) + "\n"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(kept + closing(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def logical_lines(text: str) -> list[LogicalLine] | None:
    """The complete logical lines of a text, or None where no token can be read."""
    found: list[LogicalLine] = []
    current: list[tokenize.TokenInfo] = []
    ignored = {tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NEWLINE and current:
                first = current[0]
                indent = first.line[: first.start[1]]
                found.append(LogicalLine(token.end[0], indent, first.string, current[-1].string))
                current = []
            elif token.type not in ignored:
                current.append(token)
    except tokenize.TokenError as error:
        # The text ends inside a bracket or a string: that is no fault yet.
        return found if "EOF" in str(error) else None
    except (SyntaxError, IndentationError):
        return None
    return found


def closing(lines: list[LogicalLine]) -> str:
    """What must follow so that no block is left open."""
    open_blocks: list[LogicalLine] = []
    for line in lines:
        while open_blocks and len(open_blocks[-1].indent) >= len(line.indent):
            open_blocks.pop()
        if line.last == ":":
            open_blocks.append(line)
    end = lines[-1]
    text = ""
    if end.last == ":":
        text += f"{end.indent} pass\n"
    if end.first == "@":
        text += f"{end.indent}def _(): pass\n"
    for block in reversed(open_blocks):
        if block.first == "try":
            text += f"{block.indent}finally: pass\n"
    return text
