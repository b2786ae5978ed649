"""Asks magika, Google's file type detector, for the languages of the same texts.

Run by a Python that has the package `magika`; it is told texts as JSON
lines on stdin and answers with a line each: the label after the tool's own thresholds, and the
best guess before them. Its labels are finer than ours in places: see SAME.
"""

from __future__ import annotations

import json
import sys

SAME = {
    "batch": "Batch",
    "c": "C",
    "cs": "C#",
    "cpp": "C++",
    "cmake": "CMake",
    "css": "CSS",
    "diff": "Diff",
    "dockerfile": "Dockerfile",
    "asm": "Assembly",
    "awk": "AWK",
    "clojure": "Clojure",
    "csv": "CSV",
    "dart": "Dart",
    "elixir": "Elixir",
    "erlang": "Erlang",
    "fortran": "Fortran",
    "gradle": "Groovy",
    "groovy": "Groovy",
    "hcl": "Terraform",
    "ipynb": "Jupyter Notebook",
    "julia": "Julia",
    "latex": "LaTeX",
    "lisp": "Common Lisp",
    "matlab": "MATLAB",
    "pascal": "Pascal",
    "prolog": "Prolog",
    "scss": "SCSS",
    "solidity": "Solidity",
    "tcl": "Tcl",
    "verilog": "Verilog",
    "vhdl": "VHDL",
    "vue": "Vue",
    "zig": "Zig",
    "go": "Go",
    "html": "HTML",
    "haskell": "Haskell",
    "ini": "INI",
    "json": "JSON",
    "jsonl": "JSON",
    "java": "Java",
    "javascript": "JavaScript",
    "kotlin": "Kotlin",
    "lua": "Lua",
    "makefile": "Makefile",
    "markdown": "Markdown",
    "ocaml": "OCaml",
    "objectivec": "Objective-C",
    "php": "PHP",
    "perl": "Perl",
    "txt": "Plain text",
    "powershell": "PowerShell",
    "proto": "Protocol Buffers",
    "python": "Python",
    "r": "R",
    "ruby": "Ruby",
    "gemfile": "Ruby",
    "gemspec": "Ruby",
    "rust": "Rust",
    "sql": "SQL",
    "scala": "Scala",
    "shell": "Shell",
    "swift": "Swift",
    "toml": "TOML",
    "typescript": "TypeScript",
    "xml": "XML",
    "csproj": "XML",
    "vcxproj": "XML",
    "appleplist": "XML",
    "rdf": "XML",
    "svg": "XML",
    "yaml": "YAML",
    "rst": "reStructuredText",
}


def main() -> None:
    """Reads texts, writes labels."""
    # Installed in a Python of its own, not in the project's.
    from magika import Magika  # type: ignore[import-not-found,unused-ignore]

    detector = Magika()
    for line in sys.stdin:
        outcome = detector.identify_bytes(json.loads(line).encode())
        best = str(outcome.dl.label)
        said = str(outcome.output.label)
        print(json.dumps([SAME.get(said, said), SAME.get(best, best)]), flush=True)


if __name__ == "__main__":
    main()
