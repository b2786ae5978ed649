"""Write what the built-in model says to six small files into the README; `--check` only compares.

Knows nothing of models: it asks the program. The files were written before they were tried, and
none was left out for what came back.
"""

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN = "<!-- written by scripts/readme_examples.py -->"
END = "<!-- end of what it wrote -->"
GAP = "<HERE>"
COMPLETE = ("complete", "--until", "block", "--max-tokens", "48")
INFILL = ("infill", "--marker", GAP, "--until", "line", "--max-tokens", "24")


@dataclass(frozen=True)
class Example:
    """A command and the text that it is given; GAP is where it writes, else the end."""

    command: tuple[str, ...]
    text: str

    def shown(self, program: str) -> str:
        """Return the command, and the text with the answer in guillemets."""
        before, _, after = self.text.partition(GAP)
        answer = _ask(program, self.command, self.text)
        words = " ".join(f"'{word}'" if word == GAP else word for word in self.command)
        return f"$ bigcode {words} < FILE\n{before}«{answer}»{after}".rstrip("\n")


def _ask(program: str, command: tuple[str, ...], text: str) -> str:
    """Return what the program writes, with none of the caller's settings."""
    done = subprocess.run(
        [program, *command, "--device", "cpu", "--precision", "float32"],
        input=text.encode(),
        env={
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "XDG_CONFIG_HOME": "/nonexistent",
        },
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    return done.stdout.decode()


EXAMPLES = (
    Example(
        COMPLETE,
        '''\
class Shelf:
    """A shelf with a number of places."""

    def __init__(self, name, places):
        self.name = name
        self.places = places
''',
    ),
    Example(
        COMPLETE,
        """\
def read_prices(path):
    prices = {}
    with open(path) as file:
        for line in file:
""",
    ),
    Example(
        COMPLETE,
        """\
def test_an_empty_order_costs_nothing():
    order = Order()
    assert order.total() == 0


def test_""",
    ),
    Example(
        INFILL,
        """\
class Order:
    def __init__(self, customer, items=None):
        self.customer = customer
        <HERE>

    def add(self, item):
        self.items.append(item)
""",
    ),
    Example(
        INFILL,
        """\
def cheapest(offers):
    best = None
    for offer in offers:
        if best is None or <HERE>:
            best = offer
    return best
""",
    ),
    Example(
        INFILL,
        """\
import json


def load_stock(path):
    with open(path, encoding="utf-8") as file:
        <HERE>
""",
    ),
)


def section(program: str) -> str:
    """Return all examples as one block of Markdown."""
    texts = (textwrap.indent(example.shown(program), "    ") for example in EXAMPLES)
    return "\n\n".join([BEGIN, *texts, END])


def main() -> int:
    """Write the section, or with `--check` exit 1 if it would change."""
    program = str(Path(sys.executable).with_name("bigcode"))
    text = README.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"README.md: the lines {BEGIN} and {END} are missing", file=sys.stderr)
        return 1
    wanted = before + section(program) + after
    if "--check" in sys.argv[1:]:
        if wanted != text:
            print("README.md: run: python scripts/readme_examples.py", file=sys.stderr)
        return 0 if wanted == text else 1
    README.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
