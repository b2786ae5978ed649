"""Runs detect-secrets over the held-out cases; knows no model.

Run as `python -m training.secret_tagger.baseline --program PATH`, where PATH is detect-secrets in
an environment of its own. Writes which lines it flags, for `evaluate`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from training.secret_tagger import cases
from training.secret_tagger.sources import HOME

SUFFIXES = {
    "python": ".py",
    "javascript": ".js",
    "markdown": ".md",
    "shell": ".sh",
    "other": ".c",
    "json": ".json",
    "yaml": ".yaml",
    "toml": ".toml",
    "ini": ".ini",
    "xml": ".xml",
    "env": ".txt",
}
# What a made-up file of settings would be called: detect-secrets looks at the name.
_GUESSES = (
    (re.compile(r"\A\s*[{\"]"), ".json"),
    (re.compile(r"\A\s*<"), ".xml"),
    (re.compile(r"(?m)^[\w-]+ = [\"\[{]"), ".toml"),
    (re.compile(r"(?m)^\[\w+\]$"), ".ini"),
    (re.compile(r"(?m)^ *(?:- )?[\w-]+: "), ".yaml"),
    (re.compile(r"(?m)^(?:export )?\w+="), ".sh"),
)


def suffix_of(case: cases.Case) -> str:
    """The ending of the name under which a case is scanned."""
    if case.form in SUFFIXES:
        return SUFFIXES[case.form]
    text = case.planted.text
    return next((suffix for pattern, suffix in _GUESSES if pattern.search(text)), ".txt")


def scan(program: str, split: str) -> dict[str, object]:
    """Flagged lines by the number of the case, and how often each detector spoke."""
    lines: dict[str, list[int]] = {}
    kinds: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(cases.load(split)):
            target = Path(folder) / f"{number}{suffix_of(case)}"
            target.write_text(case.planted.text, encoding="utf-8", newline="")
        command = [program, "-C", folder, "scan", "--all-files", "--no-verify", "."]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
    for name, results in json.loads(answer.stdout)["results"].items():
        number_of = Path(name).name.partition(".")[0]
        lines[number_of] = sorted({result["line_number"] for result in results})
        kinds.update(result["type"] for result in results)
    return {"lines": lines, "kinds": dict(kinds.most_common())}


def main() -> None:
    """Reads the options, scans, writes and prints how often each detector spoke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help="the detect-secrets to run")
    parser.add_argument("--split", choices=cases.SPLITS, default="test")
    options = parser.parse_args()
    command = [options.program, "--version"]
    version = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    result = scan(options.program, options.split) | {"version": version}
    path = HOME / f"detect-secrets-{options.split}.json"
    path.write_text(json.dumps(result) + "\n", encoding="utf-8")
    print(json.dumps({"version": version, "kinds": result["kinds"]}, indent=1))


if __name__ == "__main__":
    main()
