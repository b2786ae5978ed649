"""The names of models complete in all three shells, without starting the program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "$(touch owned)"
LOADERS = {
    "bash": """source {0}/bigcode.bash
        words=({1}); COMP_WORDS=("${{words[@]}}"); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
        _bigcode; printf '%s\\n' "${{COMPREPLY[@]}}" """,
    "fish": "source {0}/bigcode.fish; complete -C '{1}'",
    # Without a line editor zsh cannot complete; what its functions would offer is caught.
    "zsh": """compdef() {{ :; }}; source {0}/_bigcode
        compadd() {{ print -l -- $names }}
        _alternative() {{ _bigcode_names }}; _arguments() {{ :; }}
        _bigcode_names_or_files""",
}


@pytest.fixture(scope="module")
def completions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated files, as the generator in this tree writes them."""
    folder = tmp_path_factory.mktemp("completions")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import generate_reference as g\n"
        "from pathlib import Path\n"
        "for path, text in g.generate().items():\n"
        "    Path(sys.argv[2], path.name).write_text(text, 'utf-8')\n"
    )
    command = [sys.executable, "-c", script, str(ROOT / "scripts"), str(folder)]
    subprocess.run(command, check=True, timeout=60)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with two models in the cache, and folders that config.toml names."""
    hub = tmp_path / ".cache" / "huggingface" / "hub"
    for name in ("acme--tiny", "gpt2", "acme--a-b--c"):
        (hub / f"models--{name}" / "snapshots").mkdir(parents=True)
    (hub / f"models--{HOSTILE}" / "snapshots").mkdir(parents=True)
    (hub / "datasets--acme--data" / "snapshots").mkdir(parents=True)
    for name in ("shelf/mine", "shelf/acme/theirs", "shelf/empty/x", "single", f"shelf/{HOSTILE}"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        if "empty" not in name:
            (folder / "config.json").touch()
    config = tmp_path / ".config" / "bigcode" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        f'max-tokens = 7\nmodel-folders = [\n  "~/shelf/",\n  "{tmp_path}/single",\n]\n', "utf-8"
    )
    return tmp_path


HERE = {"acme/tiny", "gpt2", "acme/a-b--c", "mine", "acme/theirs", "single"}


def offered(shell: str, line: str, completions: Path, home: Path) -> set[str]:
    options = {"bash": ["--norc"], "fish": ["--no-config"], "zsh": ["-f"]}[shell]
    done = subprocess.run(
        [shell, *options, "-c", LOADERS[shell].format(completions, line)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=home,
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
    )
    assert done.stderr == ""
    assert not (home / "owned").exists()
    return {row.partition("\t")[0] for row in done.stdout.splitlines()}


@pytest.mark.parametrize("line", ["bigcode models show ''", "bigcode complete --model ''"])
@pytest.mark.parametrize("shell", LOADERS)
def test_models_that_are_here(shell: str, line: str, completions: Path, home: Path) -> None:
    shown = line.replace("''", "") if shell == "fish" else line
    found = offered(shell, shown, completions, home)
    assert found >= HERE | {"pocket-coder", "pocket-languages", "pocket-secrets"}
    assert "santacoder" not in found  # it would have to be pulled
    assert not any("touch" in name or "empty" in name for name in found)


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_models_that_can_be_pulled(shell: str, completions: Path, home: Path) -> None:
    line = "bigcode models pull " + ("" if shell == "fish" else "''")
    found = offered(shell, line, completions, home)
    assert found >= {"santacoder", "tiny_starcoder_py"}
    assert not found & (HERE | {"pocket-coder"})


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bigcode tag --labels ", {"KEY", "PASSWORD", "PHONE", "IBAN"}),
        ("bigcode classify --expect Pyt", {"Python"}),
        ("bigcode classify --expect Plain", {r"Plain\ text"}),
    ],
)
def test_labels(shell: str, line: str, expected: set[str], completions: Path, home: Path) -> None:
    typed = f"{line}''" if line.endswith(" ") and shell == "bash" else line
    found = offered(shell, typed, completions, home)
    assert found >= ({name.replace("\\", "") for name in expected} if shell == "fish" else expected)
    assert "O" not in found


def test_a_part_of_a_name(completions: Path, home: Path) -> None:
    found = offered("bash", "bigcode complete -m acme/t", completions, home)
    assert found == {"acme/tiny", "acme/theirs"}
    found = offered("fish", "bigcode complete -m acme/t", completions, home)
    assert {"acme/tiny", "acme/theirs"} <= found


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_any_shell_lists_them(shell: str, home: Path) -> None:
    done = subprocess.run(
        [shell, ROOT / "scripts" / "model_names.sh"],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "BIGCODE_MODEL_FOLDERS": "/nowhere"},
        timeout=30,
    )
    assert (set(done.stdout.split()), done.stderr) == (HERE, "")


def test_zsh_parses_its_file(completions: Path) -> None:
    subprocess.run(["zsh", "-n", completions / "_bigcode"], check=True, timeout=30)
    text = (completions / "_bigcode").read_text("utf-8")
    assert "'1:NAME:_bigcode_names' \\\n        '2:PATH:_files'" in text
