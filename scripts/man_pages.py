"""One page of the manual for each command, in man(7)'s language."""

import re
from collections.abc import Iterator
from typing import Any

from bigcode_cli import __version__
from bigcode_cli.framework.errors import ExitStatus
from command_tree import MADE_BY, PROGRAM, Command, Option

_FILES = (
    ("$XDG_CONFIG_HOME/bigcode/config.toml", "defaults for options, by name (max-tokens = 64)"),
    ("$XDG_CACHE_HOME/bigcode/prefixes", "prefilled prompts, as keys and values"),
    ("$XDG_CACHE_HOME/bigcode/results", "results of files that were scored or classified"),
    ("$XDG_CACHE_HOME/bigcode/weights", "quantized weights"),
    ("$XDG_CACHE_HOME/bigcode/converted", "checkpoints converted to safetensors"),
    ("$XDG_STATE_HOME/bigcode/", "the server's log, and when the built-in models were introduced"),
    (
        "$XDG_RUNTIME_DIR/bigcode/serve.sock",
        "the server's socket; in run/ of the folder above if the variable is not set",
    ),
    ("$HF_HOME/hub/", "downloaded models, shared with other tools"),
    (
        "~/.config, ~/.cache, ~/.local/state, ~/.cache/huggingface",
        "what these variables mean if they are not set",
    ),
)
_ENVIRONMENT = (
    ("BIGCODE_DEBUG", "set to 1 to print a traceback with every error"),
    ("BIGCODE_MODEL_FOLDERS", "folders of models, separated by colons"),
    ("HF_HOME, HF_HUB_CACHE", "where downloaded models are kept"),
    ("NO_COLOR", "set to anything to disable colours"),
    ("OMP_NUM_THREADS", "number of CPU threads, unless --threads is given"),
)


def man_page(command: Command, everything: list[Command]) -> str:
    """One page in man(7)'s language."""
    parts = [
        f'.\\" {MADE_BY}',
        f'.TH {command.page.upper()} 1 "" "{PROGRAM} {__version__}" "User Commands"',
        ".SH NAME",
        f"{_roff(command.page)} \\- {_roff(command.summary)}",
        ".SH SYNOPSIS",
        _synopsis(command),
        ".SH DESCRIPTION",
        *_paragraphs(command.description or command.summary + "."),
    ]
    if command.subcommands:
        parts += [".SH COMMANDS"]
        for name in command.subcommands:
            child = next(entry for entry in everything if entry.path == (*command.path, name))
            parts += [".TP", f"\\fB{_roff(child.page)}\\fR(1)", _roff(child.summary + ".")]
    if command.arguments:
        parts += [".SH ARGUMENTS"]
        for name, text, *_ in command.arguments:
            parts += [".TP", f"\\fI{_roff(name)}\\fR", _roff(text)]
    parts += [".SH OPTIONS"]
    for option in command.options:
        parts += [".TP", _roff_option(option), _roff(option.help)]
    parts += [".SH ENVIRONMENT", *_definitions(_variables(command))]
    parts += [".SH FILES", *_definitions(_FILES)]
    parts += [".SH EXIT STATUS"]
    parts += _definitions((str(int(status)), status.meaning) for status in ExitStatus)
    if command.examples:
        parts += [".SH EXAMPLES", ".nf", *map(_roff, command.examples), ".fi"]
    others = [entry.page for entry in everything if entry.path != command.path]
    parts += [".SH SEE ALSO", ", ".join(f"\\fB{_roff(page)}\\fR(1)" for page in others)]
    return "\n".join(parts) + "\n"


def _variables(command: Command) -> Iterator[tuple[str, str]]:
    for option in command.options:
        if option.variable:
            yield option.variable, f"default of {option.names[0]}"
    yield from _ENVIRONMENT


def _synopsis(command: Command) -> str:
    tail = ["\\fICOMMAND\\fR"] if command.subcommands else []
    for name, *_, required in command.arguments:
        shown = f"\\fI{_roff(name)}\\fR"
        tail.append(shown if required else f"[{shown}]")
    return " ".join([f"\\fB{_roff(command.words)}\\fR", "[\\fIOPTIONS\\fR]", *tail])


def _roff_option(option: Option) -> str:
    names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in option.names)
    return names if option.value is None else f"{names} \\fI{_roff(option.value)}\\fR"


def _paragraphs(text: str) -> Iterator[str]:
    for index, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if index:
            yield ".PP"
        yield _roff(" ".join(paragraph.split()))


def _definitions(rows: Any) -> Iterator[str]:
    for name, text in rows:
        yield ".TP"
        yield f"\\fB{_roff(name)}\\fR"
        yield _roff(text)


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped
