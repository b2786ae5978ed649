"""The help page of a command: coloured panels on a terminal, plain text elsewhere.

Rich is imported only for a terminal. Typer's own rich help would take 0.1 s more, because it
imports Markdown and tracebacks, and it shows Python's types.
"""

import os
import re
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

COMMANDS, GENERAL = "Commands", "Output and messages"
_OPTIONS, _ARGUMENTS = "Options", "Arguments"
_MOST_COLUMNS = 100
_MOST_NAME_COLUMNS = 30
_MOST_VALUE_COLUMNS = 26


@dataclass(frozen=True)
class HelpEntry:
    """One line of a panel.

    Attributes:
        name: the spellings of an option, or the name of an argument or command.
        value: what an option takes; empty for anything else.
        text: what it is for.
    """

    name: str
    value: str
    text: str


@dataclass(frozen=True)
class HelpPage:
    """The help of a command, before it is laid out.

    Attributes:
        usage: the usage line.
        paragraphs: what it does.
        examples: complete command lines.
        panels: arguments, commands and options by the title of their panel.
        closing: the paragraphs at the end.
    """

    usage: str
    paragraphs: tuple[str, ...]
    examples: tuple[str, ...]
    panels: dict[str, list[HelpEntry]]
    closing: tuple[str, ...]

    def plain(self, columns: int) -> str:
        """Return the page as plain text."""
        parts = [_filled(self.usage, columns, hanging=8)]
        parts += [_filled(text, columns, indent=2) for text in self.paragraphs]
        if self.examples:
            parts.append("\n".join(["Examples:", *(f"  $ {line}" for line in self.examples)]))
        for title, rows in self.panels.items():
            parts.append("\n".join([f"{title}:", *_plain_rows(rows, columns)]))
        parts += [_filled(text, columns) for text in self.closing]
        return "\n\n".join(parts)

    def styled(self, columns: int) -> str:
        """Return the page with panels and colours for a terminal."""
        from io import StringIO

        from rich.console import Console
        from rich.text import Text

        out = StringIO()
        console = Console(
            file=out, force_terminal=True, width=columns, highlight=False, markup=False, emoji=False
        )
        console.print(
            Text.assemble(("Usage:", "yellow"), (self.usage.removeprefix("Usage:"), "bold"))
        )
        for text in self.paragraphs:
            console.print("\n" + _filled(text, columns - 1, indent=1))
        if self.examples:
            console.print("\n [dim]Examples:[/dim]", markup=True)
            for line in self.examples:
                console.print(Text.assemble(("   $ ", "dim"), (line, "bold")), soft_wrap=True)
        console.print()
        for title, rows in self.panels.items():
            console.print(_panel(title, rows))
        for text in self.closing:
            console.print(_filled(text, columns - 1, indent=1))
        return out.getvalue().rstrip("\n")


def page_of(command: Any, context: Any) -> HelpPage:
    """Collect the help of a command."""
    words = [context.command_path, *command.collect_usage_pieces(context)]
    manual_page = context.command_path.replace(" ", "-")
    lines = (command.epilog or "").split("\n")
    closing = [*(line for line in lines if line[:2] != "$ "), "", f"Manual: man {manual_page}"]
    return HelpPage(
        usage=" ".join(["Usage:", *words]),
        paragraphs=_paragraphs(command.help or ""),
        examples=tuple(line.removeprefix("$ ") for line in lines if line.startswith("$ ")),
        panels=_panels(command, context),
        closing=_paragraphs("\n".join(closing)),
    )


def help_text(command: Any, context: Any, stream: TextIO) -> str:
    """Return the help page in the form that suits stdout or stderr."""
    page = page_of(command, context)
    columns = min(shutil.get_terminal_size().columns, _MOST_COLUMNS)
    return page.styled(columns) if _shows_panels(stream) else page.plain(columns)


def help_entry(parameter: Any) -> HelpEntry:
    """Describe an argument or an option, with its default and its range."""
    if parameter.param_type_name == "argument":
        return HelpEntry(_argument_name(parameter), "", parameter.help or "")
    # Typer keeps the names of --help in a set: sort them, short ones first.
    names = sorted([*parameter.opts, *parameter.secondary_opts], key=lambda name: name[:2] == "--")
    value = "" if parameter.is_flag else str(parameter.metavar or parameter.name.upper())
    limits = "; ".join(_limits(parameter))
    text = " ".join((parameter.help or "").split())
    return HelpEntry(", ".join(names), value, f"{text}  [{limits}]" if limits else text)


def usage_pieces(command: Any, context: Any) -> list[str]:
    """Return the words of the usage line after the command's own."""
    pieces = [command.options_metavar] if command.options_metavar else []
    for parameter in command.get_params(context):
        if parameter.param_type_name == "argument":
            name = _argument_name(parameter)
            pieces.append(name if parameter.required else f"[{name}]")
    return pieces


def _argument_name(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name.upper())
    return name if parameter.nargs == 1 else f"{name}..."


def _limits(parameter: Any) -> Iterator[str]:
    default = parameter.default
    if isinstance(parameter.show_default, str):
        yield f"default: {parameter.show_default}"
    elif not (parameter.is_flag or default is None or default in ([], ())):
        yield f"default: {default:g}" if isinstance(default, float) else f"default: {default}"
    parse = parameter.type_descriptor.parameter_info.parser
    if hasattr(parse, "span"):
        yield str(parse.span)


def _panels(command: Any, context: Any) -> dict[str, list[HelpEntry]]:
    """Sort a command's parameters into panels: arguments, commands, then options by appearance."""
    panels: dict[str, list[HelpEntry]] = {_ARGUMENTS: [], COMMANDS: []}
    for name, summary in getattr(command, "summaries", {}).items():
        panels[COMMANDS].append(HelpEntry(name, "", _paragraphs(summary)[0]))
    for parameter in command.get_params(context):
        if getattr(parameter, "hidden", False):
            continue
        if parameter.param_type_name == "argument":
            panels[_ARGUMENTS].append(help_entry(parameter))
            continue
        title = getattr(parameter, "rich_help_panel", None)
        if title is None:  # --help and --version
            title = GENERAL if GENERAL in panels else _OPTIONS
        panels.setdefault(title, []).append(help_entry(parameter))
    panels[GENERAL] = panels.pop(GENERAL, [])
    return {title: rows for title, rows in panels.items() if rows}


def _paragraphs(text: str) -> tuple[str, ...]:
    parts = re.split(r"\n\s*\n", text.strip())
    return tuple(" ".join(part.split()) for part in parts if part.strip())


def _filled(text: str, columns: int, *, indent: int = 0, hanging: int = 0) -> str:
    return textwrap.fill(
        text,
        columns,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent or hanging),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _plain_rows(rows: list[HelpEntry], columns: int) -> Iterator[str]:
    names = [f"{row.name} {row.value}".rstrip() for row in rows]
    width = max((len(name) for name in names if len(name) <= _MOST_NAME_COLUMNS), default=0)
    for name, row in zip(names, rows, strict=True):
        beside = len(name) <= width
        text = _filled(row.text, columns, indent=width + 4)
        yield f"  {name.ljust(width)}  {text.lstrip()}" if beside else f"  {name}\n{text}"


def _panel(title: str, rows: list[HelpEntry]) -> Any:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    values = max(len(row.value) for row in rows)
    if values:
        table.add_column(width=min(values, _MOST_VALUE_COLUMNS))
    table.add_column(ratio=1)
    for row in rows:
        text, mark, limits = row.text.partition("  [")
        value = Text(_folded(row.value, _MOST_VALUE_COLUMNS), "yellow")
        cells = [Text(row.name, "bold cyan"), value][: 2 if values else 1]
        shown = Text.assemble(text, (f" [{limits}" if mark else "", "dim"))
        table.add_row(*cells, shown)
    return Panel(table, title=title, title_align="left", border_style="dim")


def _folded(value: str, columns: int) -> str:
    """Break a long list of choices into lines, each after a bar."""
    lines = [""]
    for word in re.split(r"(?<=\|)", value):
        if len(lines[-1]) + len(word) > columns:
            lines.append("")
        lines[-1] += word
    return "\n".join(lines)


def _shows_panels(stream: TextIO) -> bool:
    unicode = (getattr(stream, "encoding", None) or "").lower().startswith("utf")
    return stream.isatty() and unicode and os.environ.get("TERM") != "dumb"
