"""The wheel holds everything, and works in an environment of its own."""

import base64
import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bigcode_cli import __version__

ROOT = Path(__file__).resolve().parents[2]
_MAX_WHEEL_BYTES = 60 * 10**6


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True, timeout=300)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def clean_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it; its dependencies are seen from the one running this."""
    home = tmp_path_factory.mktemp("environment") / "venv"
    venv = [sys.executable, "-m", "venv", "--without-pip", str(home)]
    subprocess.run(venv, check=True, timeout=300)
    site = next((home / "lib").glob("python*")) / "site-packages"
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install"]
    install = [*pip, "--quiet", "--no-compile", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, timeout=300)
    here = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
    (site / "dependencies.pth").write_text(f"{here}\n", "utf-8")
    return home


def test_wheel_holds_everything_that_is_installed(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    share = [name.partition(".data/data/")[2] for name in names if ".data/data/" in name]
    assert "share/man/man1/bigcode.1" in share
    assert "share/man/man1/bigcode-complete.1" in share
    assert "share/bash-completion/completions/bigcode" in share
    assert "share/fish/vendor_completions.d/bigcode.fish" in share
    assert "share/zsh/site-functions/_bigcode" in share
    for model in ("pocket_coder", "pocket_languages", "pocket_secrets"):
        for name in ("config.json", "model.safetensors", "tokenizer.json", "README.md"):
            assert f"{model}/{name}" in names
    assert "bigcode_cli/commands/score/page.css" in names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "bigcode_cli",
        "gpt_bigcode",
        "pocket_coder",
        "pocket_languages",
        "pocket_secrets",
        f"bigcode_cli-{__version__}.data",
    }
    assert any(name.endswith("LICENSE") for name in names)
    assert wheel.stat().st_size <= _MAX_WHEEL_BYTES


def _hook_of_the_readme() -> str:
    """The lines of the README that a user copies into .pre-commit-config.yaml."""
    text = (ROOT / "README.md").read_text("utf-8")
    recipe = text[text.index("    - repo: local\n") :].partition("\n\n")[0]
    return "repos:\n" + "".join(f"{line[4:]}\n" for line in recipe.splitlines())


def test_h4_the_hook_of_the_readme_in_a_clean_environment(
    clean_environment: Path, tmp_path: Path
) -> None:
    """`git commit` with the real pre-commit, a fresh home and the installed wheel."""
    pre_commit = Path(sys.executable).with_name("pre-commit")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "pre-commit").symlink_to(pre_commit)
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    environment = {
        "PATH": f"{clean_environment / 'bin'}:{tools}:{os.environ['PATH']}",
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        **{f"GIT_{who}_NAME": "Ada" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "ada@example.org" for who in ("AUTHOR", "COMMITTER")},
    }

    def call(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    assert call("git", "init", "--quiet").returncode == 0
    config = _hook_of_the_readme()
    assert "language: system" in config
    (folder / ".pre-commit-config.yaml").write_text(config, "utf-8")
    installed = call("pre-commit", "install")
    assert installed.returncode == 0, installed.stderr
    shutil.copy(ROOT / "examples" / "inventory.py", folder)
    (folder / "table.bin").write_bytes(bytes(range(256)))
    call("git", "add", ".")
    first = call("git", "commit", "--message", "code")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "bigcode tag" in first.stderr
    key = "AKIA" + base64.b32encode(random.Random(1).randbytes(10)).decode()
    (folder / "settings.py").write_text(f'aws_access_key_id = "{key}"\n', "utf-8")
    call("git", "add", ".")
    second = call("git", "commit", "--message", "data")
    assert second.returncode == 1
    assert "settings.py:1:" in second.stderr
    assert "KEY" in second.stderr
    assert key not in second.stderr
    assert call("git", "log", "--format=%s").stdout == "code\n"
    assert not list(home.glob(".cache/pre-commit/repo*"))  # no environment of the hook's own


def test_installed_wheel_completes_code(clean_environment: Path, tmp_path: Path) -> None:
    program = str(clean_environment / "bin" / "bigcode")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    version = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True, env=environment
    )
    assert version.stdout == f"bigcode {__version__}\n"
    where = subprocess.run(
        [
            str(clean_environment / "bin" / "python"),
            "-c",
            "import pocket_coder as p; print(list(p.__path__))",
        ],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=tmp_path,
    )
    assert str(clean_environment) in where.stdout
    done = subprocess.run(
        [program, "complete", "--max-tokens", "12"],
        input="import os\n\n\ndef main(",
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
