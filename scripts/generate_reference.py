"""Write man/ and completions/ from the command tree; `--check` only compares."""

import sys
from pathlib import Path

from command_tree import PROGRAM, read_commands
from man_pages import man_page
from shell_completions import bash_completion, fish_completion, zsh_completion

ROOT = Path(__file__).resolve().parent.parent


def generate() -> dict[Path, str]:
    """Every generated file and its text."""
    commands = read_commands()
    pages = {ROOT / "man" / f"{entry.page}.1": man_page(entry, commands) for entry in commands}
    return pages | {
        ROOT / "completions" / f"{PROGRAM}.bash": bash_completion(commands),
        ROOT / "completions" / f"_{PROGRAM}": zsh_completion(commands),
        ROOT / "completions" / f"{PROGRAM}.fish": fish_completion(commands),
    }


def main() -> int:
    """Write the files, or with `--check` name those that differ and exit 1."""
    files = generate()
    present = {path for name in ("man", "completions") for path in (ROOT / name).glob("*")}
    stale = [
        path
        for path in sorted(files.keys() | present)
        if path not in files or not path.exists() or path.read_text("utf-8") != files[path]
    ]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)}: not up to date; run: make docs", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        if path in files:
            path.parent.mkdir(exist_ok=True)
            path.write_text(files[path], "utf-8")
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
