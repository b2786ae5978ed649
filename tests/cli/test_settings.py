"""Flag, then environment, then config.toml, then the default: for every option."""

import re
from collections.abc import Iterator
from inspect import isclass, signature
from pathlib import Path
from typing import Any

import pytest
import typer

from bigcode_cli.app import SUMMARIES, app, function_of, main
from bigcode_cli.app import options as all_options
from bigcode_cli.commands.infill import options as I  # noqa: N812  # short, for the table
from bigcode_cli.framework.help_page import page_of
from bigcode_cli.framework.option_types import is_setting
from bigcode_cli.framework.options import OutputFormat, Until
from bigcode_cli.framework.settings import Settings, SettingsError, config_path, environment_name
from gpt_bigcode.hardware import Precision
from gpt_bigcode.stopping.text_stop import Scope
from program import Run

# Option: default, then what a flag, the environment and the file say and what comes of it.
VALUES: dict[str, tuple[Any, tuple[str, Any], tuple[str, Any], tuple[str, Any]]] = {
    "max_tokens": (128, ("5", 5), ("6", 6), ("7", 7)),
    "temperature": (0.0, ("0.5", 0.5), ("1", 1.0), ("2", 2.0)),
    "top_k": (0, ("5", 5), ("6", 6), ("7", 7)),
    "top_p": (1.0, ("0.5", 0.5), ("0.6", 0.6), ("0.7", 0.7)),
    "min_p": (0.0, ("0.5", 0.5), ("0.6", 0.6), ("0.7", 0.7)),
    "seed": (None, ("5", 5), ("6", 6), ("9223372036854775807", 2**63 - 1)),
    "repetition_penalty": (1.0, ("1.1", 1.1), ("1.2", 1.2), ("1.3", 1.3)),
    "stop": (None, ("a\n", ["a\n"]), ("b  c\n", ["b  c\n"]), ('["d", "e"]', ["d", "e"])),
    "until": (None, ("line", Until.LINE), ("block", Until.BLOCK), ('"function"', Until.FUNCTION)),
    "time_budget": (None, ("5", 5.0), ("0.5", 0.5), ("7.5", 7.5)),
    "samples": (1, ("2", 2), ("3", 3), ("4", 4)),
    "min_confidence": (None, ("0.5", 0.5), ("0", 0.0), ("1", 1.0)),
    "context": (None, ("a b", [Path("a b")]), ("c d", [Path("c d")]), ('"e"', [Path("e")])),
    "no_truncate": (False, ("", True), ("1", True), ("true", True)),
    "draft": (None, ("a", "a"), ("b", "b"), ('"c"', "c")),
    "no_prefix_cache": (False, ("", True), ("1", True), ("true", True)),
    "no_speculation": (False, ("", True), ("1", True), ("true", True)),
    "model": (None, ("a", "a"), ("b", "b"), ('"c"', "c")),
    "device": ("auto", ("cpu", "cpu"), ("cuda", "cuda"), ('"cuda:1"', "cuda:1")),
    "precision": (
        Precision.AUTO,
        ("float16", Precision.FLOAT16),
        ("float32", Precision.FLOAT32),
        ('"auto"', Precision.AUTO),
    ),
    "server": (None, ("off", "off"), ("auto", "auto"), ('"unix:/a"', "unix:/a")),
    "no_weights_cache": (False, ("", True), ("1", True), ("true", True)),
    "threads": (None, ("5", 5), ("6", 6), ("7", 7)),
    "format": (
        OutputFormat.TEXT,
        ("json", OutputFormat.JSON),
        ("jsonl", OutputFormat.JSONL),
        ('"text"', OutputFormat.TEXT),
    ),
    "quiet": (False, ("", True), ("true", True), ("true", True)),
    "verbose": (False, ("", True), ("yes", True), ("true", True)),
    "offline": (False, ("", True), ("on", True), ("true", True)),
    "no_healing": (False, ("", True), ("1", True), ("true", True)),
    "echo": (False, ("", True), ("1", True), ("true", True)),
    "column_unit": (
        I.ColumnUnit.CHARACTER,
        ("utf-16", I.ColumnUnit.UTF_16),
        ("byte", I.ColumnUnit.BYTE),
        ('"character"', I.ColumnUnit.CHARACTER),
    ),
    "order": (None, ("spm", I.Order.SPM), ("psm", I.Order.PSM), ('"spm"', I.Order.SPM)),
    "no_trim": (False, ("", True), ("1", True), ("true", True)),
}

COMMAND_LINE_ALONE = {
    "at",
    "html",
    "in_place",
    "marker",
    "offset",
    "output",
    "prefix_file",
    "print",
    "redact",
    "suffix_file",
    "summary",
    "update_baseline",
    "yes",
}


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in VALUES:
        monkeypatch.delenv(environment_name(name), raising=False)
    (tmp_path / "bigcode").mkdir()
    return tmp_path / "bigcode" / "config.toml"


def _command_with(option: str) -> str:
    """The first command that has the option."""
    return next(n for n in SUMMARIES if option in signature(function_of(n)).parameters)


def _parse(*arguments: str, name: str = "complete") -> dict[str, Any]:
    command: Any = typer.main.get_command(app)
    settings = Settings(all_options)
    child = command.commands[name]
    context = child.make_context(name, list(arguments), default_map=settings)
    return {name: None if value in ([], ()) else value for name, value in context.params.items()}


def test_until_names_the_scopes_of_the_library() -> None:
    assert [*Until] == [*Scope]


def test_the_table_has_every_option() -> None:
    found = all_options("complete", "infill")
    assert sorted(VALUES) == sorted(name for name in found if is_setting(found[name]))


@pytest.mark.parametrize("name", sorted(VALUES))
def test_who_wins(name: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default, (flag, from_flag), (variable, from_variable), (toml, from_toml) = VALUES[name]
    command = _command_with(name)
    assert _parse(name=command)[name] == default
    config.write_text(f"{name.replace('_', '-')} = {toml}\n", "utf-8")
    assert _parse(name=command)[name] == from_toml
    monkeypatch.setenv(environment_name(name), variable)
    assert _parse(name=command)[name] == from_variable
    option = f"--{name.replace('_', '-')}"
    assert _parse(f"{option}={flag}" if flag else option, name=command)[name] == from_flag
    assert type(_parse(name=command)[name]) is type(from_variable)


@pytest.mark.parametrize("name", sorted(VALUES))
def test_parsing_directly_changes_only_the_time(
    name: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typer's own way, through pydantic, is the naive twin."""
    flag = VALUES[name][1][0]
    option = f"--{name.replace('_', '-')}"
    arguments = [f"{option}={flag}" if flag else option]
    config.write_text(f"{name.replace('_', '-')} = {VALUES[name][3][0]}\n", "utf-8")
    command = _command_with(name)
    direct = (_parse(name=command), _parse(*arguments, name=command))
    monkeypatch.setattr("bigcode_cli.framework.typer_glue.parse_directly", lambda _: None)
    assert (_parse(name=command), _parse(*arguments, name=command)) == direct


@pytest.mark.parametrize("word", ["0", "false", "no", "OFF"])
def test_an_environment_may_say_no(
    word: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("quiet = true\n", "utf-8")
    monkeypatch.setenv("BIGCODE_QUIET", word)
    assert _parse()["quiet"] is False


def test_an_empty_variable_is_none(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGCODE_MAX_TOKENS", "")
    assert _parse()["max_tokens"] == 128


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("max-token = 5", "max-token: there is no such option", id="unknown"),
        pytest.param("max_tokens = 5", "max_tokens: there is no such option", id="underscore"),
        pytest.param("file = 'a'", "file: there is no such option", id="argument"),
        pytest.param("[complete]\nseed = 1", "complete: there is no such option", id="table"),
        pytest.param("seed = '1'", "seed: '1' is not a whole number", id="text-for-number"),
        pytest.param("seed = 1.0", "seed: 1.0 is not a whole number", id="float-for-int"),
        pytest.param("seed = true", "seed: True is not a whole number", id="bool-for-int"),
        pytest.param("quiet = 1", "quiet: 1 is not true or false", id="int-for-bool"),
        pytest.param("top-p = 'x'", "top-p: 'x' is not a number", id="text-for-float"),
        pytest.param("stop = [1]", "stop: [1] is not a list of texts or a text", id="list"),
        pytest.param("model = ['a']", "model: ['a'] is not a text", id="list-for-text"),
        pytest.param("seed = ", "invalid value", id="syntax"),
        pytest.param("seed = 1\nseed = 2", "overwrite", id="twice"),
    ],
)
def test_a_config_that_is_wrong_is_refused_by_name(text: str, message: str, config: Path) -> None:
    config.write_text(text, "utf-8")
    with pytest.raises(SettingsError) as caught:
        _parse()
    assert str(caught.value).startswith(f"{config}: ")
    assert message.lower() in str(caught.value).lower()


def test_a_config_that_is_no_text(config: Path) -> None:
    config.write_bytes(b"seed = 1 # \xff")
    with pytest.raises(SettingsError, match="0xff"):
        _parse()


@pytest.mark.parametrize(
    ("where", "value", "named"),
    [
        pytest.param("environment", "9", "BIGCODE_TOP_P: '9' is not", id="environment"),
        pytest.param("config", "9", "config.toml: top-p: 9 is not", id="config"),
        pytest.param("flag", "9", "--top-p: '9' is not", id="flag"),
    ],
)
def test_a_bad_value_is_told_with_its_place(where: str, value: str, named: str, run: Run) -> None:
    folder = Path(run.environment["HOME"]) / ".config" / "bigcode"
    folder.mkdir(parents=True)
    if where == "config":
        (folder / "config.toml").write_text(f"top-p = {value}\n", "utf-8")
    env = {"BIGCODE_TOP_P": value} if where == "environment" else {}
    done = run("complete", *([f"--top-p={value}"] if where == "flag" else []), "x", env=env)
    assert (done.status, done.stdout) == (2, b"")
    assert named in done.stderr


def test_an_unknown_key_ends_the_process_and_help_does_not_care(run: Run) -> None:
    folder = Path(run.environment["HOME"]) / ".config" / "bigcode"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("modle = 'x'\n", "utf-8")
    done = run("complete")
    assert done.status == 2
    assert done.stderr == (
        f"bigcode: error[settings]: {folder}/config.toml: modle: there is no such option\n"
        "hint: did you mean model?\n"
    )
    assert run("complete", "--help").status == 0


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        pytest.param("max_tokens = 8", "did you mean max-tokens?", id="underscore"),
        pytest.param("[complete]\nseed = 1", "outside of [tables]", id="table"),
        pytest.param("zzzzz = 1", None, id="like-nothing"),
    ],
)
def test_a_wrong_key_comes_with_advice(text: str, hint: str | None, config: Path) -> None:
    config.write_text(text, "utf-8")
    with pytest.raises(SettingsError) as caught:
        _parse()
    assert (caught.value.hint or "").endswith(hint or "")
    assert (caught.value.hint is None) == (hint is None)


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        pytest.param(
            "BIGCODE_MAXTOKENS", "no such option; did you mean BIGCODE_MAX_TOKENS?", id="typo"
        ),
        pytest.param("BIGCODE_ZZZ", "there is no such option", id="like-nothing"),
        pytest.param(
            "BIGCODE_IN_PLACE", "--in-place is taken from the command line alone", id="alone"
        ),
        pytest.param("BIGCODE_TAG_MODEL", None, id="of-another-command"),
        pytest.param("BIGCODE_SEED", None, id="of-this-command"),
    ],
)
def test_a_variable_that_sets_nothing_is_noted(variable: str, said: str | None, run: Run) -> None:
    call = ("complete", "--max-tokens=1")
    done = run(*call, input=b"x", env={variable: "5"})
    assert done.status == 0
    if said is None:
        assert done.stderr == ""
    else:
        assert done.stderr.startswith(f"bigcode: note: {variable} is ignored: ")
        assert done.stderr.endswith(f"{said}\n")
    assert run(*call, "-q", input=b"x", env={variable: "5"}).stderr == ""


def test_in_place_by_environment_leaves_the_file_alone(run: Run) -> None:
    file = run.folder / "a.py"
    file.write_text("x = \n", "utf-8")
    done = run("infill", "--at=1:5", "--max-tokens=1", file, env={"BIGCODE_IN_PLACE": "1"})
    assert (done.status, file.read_text("utf-8")) == (0, "x = \n")
    assert done.stdout


@pytest.mark.parametrize(
    "arguments",
    [("complete", "no-such-file"), ("complete", "--top-p=9"), ("tag", "no-such-file")],
)
def test_debugging_shows_where_every_error_arose(arguments: tuple[str, ...], run: Run) -> None:
    done = run(*arguments, env={"BIGCODE_DEBUG": "1"})
    assert done.status in {2, 3}
    assert "Traceback (most recent call last):" in done.stderr
    assert "\nbigcode: error[" in done.stderr


@pytest.mark.parametrize("env", [{}, {"XDG_CONFIG_HOME": "."}, {"XDG_CONFIG_HOME": ""}])
def test_a_config_in_the_current_folder_is_never_read(env: dict[str, str], run: Run) -> None:
    for name in ("config.toml", ".bigcode.toml", "bigcode.toml", "bigcode/config.toml"):
        (run.folder / name).parent.mkdir(exist_ok=True)
        (run.folder / name).write_text("no such syntax", "utf-8")
    done = run("complete", "-m", "no-such-model", env=env)
    assert (done.status, "model-missing" in done.stderr) == (3, True)


def _every_command() -> Iterator[tuple[tuple[str, ...], Any]]:
    waiting: list[tuple[tuple[str, ...], Any]] = [((), typer.main.get_command(app))]
    while waiting:
        words, command = waiting.pop()
        yield words, command
        children = getattr(command, "commands", {})
        waiting += [((*words, name), child) for name, child in children.items()]


def test_no_command_lets_the_environment_change_files_or_name_a_place() -> None:
    marked, settable = set(), []
    for words, command in _every_command():
        for parameter in command.get_params(typer.Context(command, info_name="bigcode")):
            if parameter.name in COMMAND_LINE_ALONE:
                marked.add(parameter.name)
                if parameter.envvar:
                    settable.append((words, parameter.name))
    assert (marked, settable) == (COMMAND_LINE_ALONE, [])


def test_every_variable_is_a_setting_of_config_toml_too() -> None:
    options = all_options()
    settings = {environment_name(name) for name in options if is_setting(options[name])}
    variables = {
        parameter.envvar
        for _, command in _every_command()
        for parameter in command.get_params(typer.Context(command, info_name="bigcode"))
        if parameter.envvar
    }
    assert variables - settings == set()


def test_no_help_shows_a_type_of_python_or_an_interval_of_one() -> None:
    shown = {
        words: page_of(command, typer.Context(command, info_name="bigcode")).plain(100)
        for words, command in _every_command()
    }
    assert len(shown) > 20
    odd = re.compile(r"<(?:str|int|float|bool|path|Path|list\[\w+\])>|\{\w+\}|<=|Optional\[")
    found = {words: odd.findall(text) for words, text in shown.items()}
    assert {words: parts for words, parts in found.items() if parts} == {}


def test_the_config_lies_where_the_platform_keeps_it(config: Path) -> None:
    assert config_path() == config


@pytest.mark.parametrize("command", SUMMARIES)
def test_what_changes_files_or_names_a_place_comes_from_the_command_line_alone(
    command: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = all_options(command)
    alone = [name for name in options if not is_setting(options[name])]
    assert set(alone) >= COMMAND_LINE_ALONE & set(options)
    for name in alone:
        monkeypatch.setenv(environment_name(name), "1")
    defaults = {name: signature(function_of(command)).parameters[name].default for name in alone}
    assert {name: _parse(name=command)[name] for name in alone} == defaults
    for name in alone:
        config.write_text(f"{name.replace('_', '-')} = true\n", "utf-8")
        with pytest.raises(SettingsError, match="is taken from the command line alone"):
            _parse(name=command)


def test_every_option_is_called_as_its_parameter(capfd: pytest.CaptureFixture[str]) -> None:
    shown = ""
    for command in SUMMARIES:
        assert main([command, "--help"]) == 0
        shown += capfd.readouterr().out
    settings = {name: kind for name, kind in all_options().items() if is_setting(kind)}
    for name, annotation in settings.items():
        # What other jobs than writing set apart is called alike on a command line.
        plain = {"classify_model": "model", "tag_model": "model", "tag_baseline": "baseline"}
        flag = f"--{plain.get(name, name).replace('_', '-')}"
        assert flag in shown
        assert isclass(annotation) is False
