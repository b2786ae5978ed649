"""Completions for bash, zsh and fish that never start the program."""

from collections.abc import Iterator
from pathlib import Path

from bigcode_cli.models.aliases import SHORT_NAMES
from bigcode_cli.models.resolve import BUILT_IN_PACKAGES
from command_tree import MADE_BY, PROGRAM, Command, Option

NAMES_SCRIPT = Path(__file__).resolve().with_name("model_names.sh")
# The functions of each shell that offer models: those that are here, and those to be pulled.
_NAMES = f"_{PROGRAM}_names"
_PUBLISHED = f"_{PROGRAM}_published"
_MODEL_OPTIONS = frozenset({"--model", "--draft"})


def names_script() -> str:
    """The lines of shell that list downloaded models, which need no start of the program."""
    lines = NAMES_SCRIPT.read_text("utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def bash_completion(commands: list[Command]) -> str:
    """A completion function for bash; it never starts the program."""
    lines = [
        f"# {MADE_BY}",
        f"{_NAMES}() {{",
        f"    echo {' '.join(BUILT_IN_PACKAGES)}",
        f"    command sh -c '{names_script()}'",
        "}",
        f"{_PUBLISHED}() {{ echo {' '.join(SHORT_NAMES)}; }}",
        f"_{PROGRAM}() {{",
        "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}",
        "    local called= word words= commands=",
        "    # `--option=value` arrives as three words.",
        "    [[ $current == = ]] && current=",
        "    [[ $previous == = ]] && previous=${COMP_WORDS[COMP_CWORD-2]}",
        '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
        '        case "$called $word" in',
    ]
    paths = [f'" {" ".join(entry.path)}"' for entry in commands if entry.path]
    lines += [
        f'            {"|".join(paths)}) called="$called $word" ;;',
        "        esac",
        "    done",
    ]
    lines += ["    COMPREPLY=()", '    case "$called:$previous" in']
    for entry in commands:
        lines += _bash_values(entry)
    lines += ["    esac", '    case "$called" in']
    for entry in commands:
        key = f" {' '.join(entry.path)}" if entry.path else ""
        words = " ".join(name for option in entry.options for name in option.names)
        names = _function_of(entry)
        offered = " ".join((*entry.subcommands, *([f"$({names})"] if names else [])))
        lines += [f'        "{key}") words="{words}" commands="{offered}" ;;']
    lines += [
        "    esac",
        "    if [[ $current == -* ]]; then",
        '        COMPREPLY=($(compgen -W "$words" -- "$current"))',
        "    elif [[ -n $commands ]]; then",
        '        COMPREPLY=($(compgen -W "$commands" -- "$current"))',
        "    fi",
        "}",
        f"complete -o bashdefault -o default -F _{PROGRAM} {PROGRAM}",
    ]
    return "\n".join(lines) + "\n"


def _function_of(command: Command) -> str:
    """The function that offers what the argument of a command may name; none for files."""
    return {"here": _NAMES, "published": _PUBLISHED, "": ""}[command.models]


def _escaped(words: tuple[str, ...]) -> str:
    """Words with blanks in them, as one list for a shell."""
    return " ".join(word.replace(" ", "\\ ") for word in words)


def _bash_values(command: Command) -> Iterator[str]:
    """After an option that takes a value: its choices, files, or nothing at all."""
    key = f" {' '.join(command.path)}" if command.path else ""
    silent = []
    for option in command.options:
        keys = "|".join(f'"{key}:{name}"' for name in option.names)
        if option.choices:
            listed = f"compgen -W '{_escaped(option.choices)}' -- \"$current\""
            yield f"        {keys}) mapfile -t COMPREPLY < <({listed})"
            yield '            COMPREPLY=("${COMPREPLY[@]// /\\\\ }"); return ;;'
        elif _MODEL_OPTIONS & set(option.names):
            words = f'"$({_NAMES})"'
            yield f'        {keys}) COMPREPLY=($(compgen -W {words} -- "$current")); return ;;'
        elif option.is_path:
            yield f"        {keys}) return ;;"
        elif option.value is not None:
            silent.append(keys)
    if silent:
        yield f"        {'|'.join(silent)}) compopt +o default +o bashdefault; return ;;"


def zsh_completion(commands: list[Command]) -> str:
    """A completion function for zsh, autoloaded or sourced."""
    lines = [
        f"#compdef {PROGRAM}",
        f"# {MADE_BY}",
        f"{_NAMES}() {{",
        f"    local -a names=({' '.join(BUILT_IN_PACKAGES)} $(command sh -c '{names_script()}'))",
        '    compadd "$@" -a names',
        "}",
        f"{_PUBLISHED}() {{",
        f"    local -a names=({' '.join(SHORT_NAMES)})",
        '    compadd "$@" -a names',
        "}",
        f"{_NAMES}_or_files() {{ _alternative 'models:model:{_NAMES}' 'files:file:_files'; }}",
    ]
    for entry in commands:
        lines += [f"{_zsh_name(entry.path)}() {{", *_zsh_body(entry, commands), "}"]
    lines += [
        f'if [ "$funcstack[1]" = "_{PROGRAM}" ]; then',
        f'    _{PROGRAM} "$@"',
        "else",
        f"    compdef _{PROGRAM} {PROGRAM}",
        "fi",
    ]
    return "\n".join(lines) + "\n"


def _zsh_body(command: Command, commands: list[Command]) -> Iterator[str]:
    specs = [spec for option in command.options for spec in _zsh_option(option)]
    if not command.subcommands:
        offered = _function_of(command)
        alone = len(command.arguments) == 1
        specs += [
            f"'{'*' if alone else place}:{name}:{'_files' if path else offered}'"
            for place, (name, _, path, _) in enumerate(command.arguments, start=1)
        ]
        yield "    _arguments -s -S \\"
        yield " \\\n".join(f"        {spec}" for spec in specs)
        return
    yield "    local context state line"
    yield "    typeset -A opt_args"
    specs += ["'1:command:->command'", "'*::argument:->argument'"]
    yield "    _arguments -C -S \\"
    yield " \\\n".join(f"        {spec}" for spec in specs)
    yield "    case $state in"
    rows = " ".join(
        f"'{name}:{_quoted(child.summary)}'"
        for name in command.subcommands
        for child in commands
        if child.path == (*command.path, name)
    )
    yield f"    command) local -a commands=({rows}); _describe command commands ;;"
    yield "    argument) case $words[1] in"
    for name in command.subcommands:
        yield f"        {name}) {_zsh_name((*command.path, name))} ;;"
    yield "        esac ;;"
    yield "    esac"


def _zsh_option(option: Option) -> Iterator[str]:
    text = _quoted(option.help).replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    value = ""
    if option.value is not None:
        action = f"({_escaped(option.choices)})" if option.choices else ""
        action = "_files" if option.is_path else action
        action = f"{_NAMES}_or_files" if _MODEL_OPTIONS & set(option.names) else action
        value = f":{option.value.replace(':', ' ')}:{action}"
    for name in option.names:
        star = "*" if option.repeatable else ""
        yield f"'{star}{name}[{text}]{value}'"


def _zsh_name(path: tuple[str, ...]) -> str:
    return "_" + "_".join((PROGRAM, *path)).replace("-", "_")


def fish_completion(commands: list[Command]) -> str:
    """Completions for fish."""
    lines = [
        f"# {MADE_BY}",
        f"function _{_NAMES}",
        f"    string split ' ' '{' '.join(BUILT_IN_PACKAGES)}'",
        f"    command sh -c '{names_script()}'",
        "end",
        f"function _{_PUBLISHED}",
        f"    string split ' ' '{' '.join(SHORT_NAMES)}'",
        "end",
    ]
    for entry in commands:
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in entry.path)
        for name in entry.subcommands:
            child = next(other for other in commands if other.path == (*entry.path, name))
            unseen = f"not __fish_seen_subcommand_from {' '.join(entry.subcommands)}"
            when = f"{seen}; and {unseen}" if seen else unseen
            text = _quoted(child.summary)
            lines.append(f"complete -c {PROGRAM} -f -n '{when}' -a {name} -d '{text}'")
        when = seen or f"not __fish_seen_subcommand_from {' '.join(entry.subcommands)}"
        if names := _function_of(entry):
            lines.append(f"complete -c {PROGRAM} -n '{when}' -a '(_{names})'")
        lines += [
            f"complete -c {PROGRAM} -n '{when}' {_fish_option(option)}" for option in entry.options
        ]
    return "\n".join(lines) + "\n"


def _fish_option(option: Option) -> str:
    names = (
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
    )
    takes = "" if option.value is None else " -r -F" if option.is_path else " -x"
    chosen = f" -a '{_escaped(option.choices)}'" if option.choices else ""
    chosen = f" -a '(_{_NAMES})'" if _MODEL_OPTIONS & set(option.names) else chosen
    return f"{' '.join(names)}{takes}{chosen} -d '{_quoted(option.help)}'"


def _quoted(text: str) -> str:
    """Text inside single quotes of all three shells."""
    return text.replace("\\", "").replace("'", "\u2019")
