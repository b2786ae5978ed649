"""man/ and completions/ are what the command tree says, and real shells and man accept them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.name for path in (ROOT / "man").glob("*.1"))


def _need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed; `make test` installs it where it may")
    return found


def _run(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LC_ALL": "C.UTF-8", "TERM": "dumb"} | more
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def test_generated_files_are_up_to_date() -> None:
    done = _run(sys.executable, str(ROOT / "scripts" / "generate_reference.py"), "--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stale_file_is_named(tmp_path: Path) -> None:
    copy = tmp_path / "repository"
    shutil.copytree(ROOT / "man", copy / "man")
    shutil.copytree(ROOT / "completions", copy / "completions")
    shutil.copytree(ROOT / "scripts", copy / "scripts")
    (copy / "man" / "bigcode.1").write_text("old", "utf-8")
    (copy / "man" / "bigcode-gone.1").write_text("old", "utf-8")
    done = _run(sys.executable, str(copy / "scripts" / "generate_reference.py"), "--check")
    assert done.returncode == 1
    assert "man/bigcode.1: not up to date" in done.stderr
    assert "man/bigcode-gone.1: not up to date" in done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_man_renders_without_warnings(page: str) -> None:
    _need("man")
    done = _run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", str(ROOT / "man" / page))
    assert (done.returncode, done.stderr) == (0, "")
    plain = re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout)
    for heading in ("NAME", "SYNOPSIS", "OPTIONS", "ENVIRONMENT", "EXIT STATUS", "SEE ALSO"):
        assert f"\n{heading}" in plain


@pytest.mark.parametrize("page", PAGES)
def test_every_option_of_the_help_is_in_the_man_page(page: str) -> None:
    words = page.removesuffix(".1").split("-")[1:]
    shown = _run(sys.executable, "-m", "bigcode_cli", *words, "--help", COLUMNS="200").stdout
    options = set(re.findall(r"^  (?:-\w, )?(--[a-z][a-z-]+)", shown, re.MULTILINE))
    text = (ROOT / "man" / page).read_text("utf-8").replace("\\-", "-")
    assert options
    assert [option for option in sorted(options) if f"\\fB{option}\\fR" not in text] == []


def _bash(line: str, folder: Path) -> list[str]:
    script = f"""
        source {ROOT}/completions/bigcode.bash
        words=({line}); COMP_WORDS=("${{words[@]}}")
        [[ "{line}" == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
        compopt() {{ :; }}
        _bigcode; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        [_need("bash"), "--norc", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=folder,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("bigcode ", "complete", id="commands"),
        pytest.param("bigcode comp", "complete", id="part-of-a-command"),
        pytest.param("bigcode complete --temp", "--temperature", id="option"),
        pytest.param("bigcode complete --format ", "jsonl", id="choices"),
        pytest.param("bigcode complete --format = js", "json", id="choices-after-equals"),
        pytest.param("bigcode --vers", "--version", id="option-of-the-program"),
    ],
)
def test_bash_completes(line: str, expected: str, tmp_path: Path) -> None:
    assert expected in _bash(line, tmp_path)


def test_bash_offers_nothing_where_a_number_is_due(tmp_path: Path) -> None:
    assert _bash("bigcode complete --max-tokens ", tmp_path) == []


def test_bash_completes_files_at_a_prompt(tmp_path: Path) -> None:
    """A real interactive bash, its Tab key pressed in a terminal."""
    _need("tmux")
    (tmp_path / "some_file.py").write_text("x = 1\n", "utf-8")
    screen = _tab_in_tmux(
        "bash --norc --noprofile",
        f"source {ROOT}/completions/bigcode.bash",
        "bigcode complete some_f",
        tmp_path,
    )
    assert "bigcode complete some_file.py" in screen


def test_zsh_completes_at_a_prompt(tmp_path: Path) -> None:
    _need("tmux")
    _need("zsh")
    load = f"fpath=({ROOT}/completions $fpath); autoload -Uz compinit; compinit -u -D"
    screen = _tab_in_tmux("zsh -f", load, "bigcode complete --max-t", tmp_path)
    assert "bigcode complete --max-tokens" in screen
    screen = _tab_in_tmux("zsh -f", load, "bigcode comp", tmp_path)
    assert "bigcode complete" in screen
    (tmp_path / "some_file.py").write_text("x = 1\n", "utf-8")
    screen = _tab_in_tmux("zsh -f", load, "bigcode complete some_f", tmp_path)
    assert "bigcode complete some_file.py" in screen


def _tab_in_tmux(shell: str, load: str, typed: str, folder: Path) -> str:
    """Type into a shell in a terminal of its own, press Tab, and read the screen."""
    socket = str(folder / f"{len(list(folder.iterdir()))}.sock")

    def tmux(*words: str) -> str:
        return _run("tmux", "-S", socket, "-f", "/dev/null", *words, TERM="xterm").stdout

    tmux("new-session", "-d", "-x", "160", "-y", "20", "-c", str(folder), shell)
    try:
        # The shell says by a channel that it has read what was typed before.
        tmux("send-keys", f"PS1='> '; {load}; tmux -S {socket} wait-for -S ready", "Enter")
        tmux("wait-for", "ready")
        tmux("send-keys", "clear", "Enter")
        tmux("send-keys", typed)
        for _ in range(40):
            tmux("send-keys", "Tab")
            screen = tmux("capture-pane", "-p")
            grown = [line for line in screen.splitlines() if line.startswith(f"> {typed}")]
            if grown and len(grown[-1].rstrip()) > len(f"> {typed}"):
                return screen
            subprocess.run(["sleep", "0.2"], check=True)
        return screen
    finally:
        tmux("kill-server")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("bigcode ", "complete", id="commands"),
        pytest.param("bigcode complete --temp", "--temperature", id="option"),
        pytest.param("bigcode complete --format ", "jsonl", id="choices"),
    ],
)
def test_fish_completes(line: str, expected: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            _need("fish"),
            "--no-config",
            "-c",
            f"source {ROOT}/completions/bigcode.fish; complete -C '{line}'",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
    )
    assert expected in [row.split("\t")[0] for row in done.stdout.splitlines()]
