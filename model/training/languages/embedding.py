"""Texts that hold a long piece of another language: queries in strings, pages in programs.

A reader names such a file by what it is written in, so the host's
label is the text's label, however long the guest is.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

# How a host opens and closes a long literal, and the lines that may come before it.
_TRIPLE = ('{name} = """\n', '"""\n')
_LITERALS = {
    "Python": (_TRIPLE, ("{name} = '''\n", "'''\n"), ('    cursor.execute("""\n', '    """)\n')),
    "JavaScript": (("const {name} = `\n", "`;\n"), ("  return db.query(`\n", "  `);\n")),
    "TypeScript": (
        ("export const {name}: string = `\n", "`;\n"),
        ("const {name} = gql`\n", "`;\n"),
    ),
    "Java": (('    String {name} = """\n', '        """;\n'),),
    "Kotlin": (('val {name} = """\n', '""".trimIndent()\n'),),
    "Scala": (('  val {name} = s"""\n', '  """.stripMargin\n'),),
    "Swift": (('let {name} = """\n', '"""\n'),),
    "Groovy": (('def {name} = """\n', '"""\n'), ("    sh '''\n", "    '''\n")),
    "C#": (('var {name} = @"\n', '";\n'),),
    "C++": (('const char* {name} = R"(\n', ')";\n'),),
    "Go": (("const {name} = `\n", "`\n"), ("\trows, err := db.Query(`\n", "\t`)\n")),
    "Rust": (('let {name} = r#"\n', '"#;\n'), ('const {name}: &str = r#"\n', '"#;\n')),
    "Ruby": (("{name} = <<~SQL\n", "SQL\n"), ("{name} = <<-EOS\n", "EOS\n")),
    "Perl": (("my ${name} = <<'END';\n", "END\n"), ("print <<EOF;\n", "EOF\n")),
    "PHP": (("<?php\n${name} = <<<EOT\n", "EOT;\n"), ("?>\n", "<?php endforeach; ?>\n")),
    "Shell": (("cat > {name} <<'EOF'\n", "EOF\n"), ("cat <<EOF\n", "EOF\n")),
    "PowerShell": (('${name} = @"\n', '"@\n'),),
    "Elixir": (('  @{name} """\n', '  """\n'),),
    "Julia": (('{name} = """\n', '"""\n'),),
    "Lua": (("local {name} = [[\n", "]]\n"),),
    "Dart": (("const {name} = '''\n", "''';\n"),),
    "Nix": (("  {name} = ''\n", "  '';\n"),),
    "R": (('{name} <- "\n', '"\n'),),
    "Tcl": (("set {name} {{\n", "}}\n"),),
    "YAML": (("{name}: |\n", "next: true\n"),),
    "Terraform": (("  {name} = <<EOF\n", "EOF\n"),),
    "Markdown": (("```\n", "```\n"),),
    "Dockerfile": (("RUN <<EOF\n", "EOF\n"),),
    "Clojure": (('(def {name} "\n', '")\n'),),
    "Common Lisp": (('(defparameter *{name}* "\n', '")\n'),),
}
HOSTS = tuple(_LITERALS)
GUESTS = (
    "SQL",
    "HTML",
    "JSON",
    "CSS",
    "XML",
    "Shell",
    "YAML",
    "GraphQL",
    "Plain text",
    "JavaScript",
)
_NAMES = ("QUERY", "query", "template", "body", "sql", "page", "text", "usage", "schema", "script")
_ALPHABETS = (
    string.ascii_letters + string.digits + "+/",
    string.hexdigits.lower(),
    "0123456789abcdef ",
    string.digits + "  .-",
    string.printable[:95],
    string.ascii_lowercase + "    ",
    "".join(map(chr, range(0xA1, 0x250))) + "   ",
    "01",
)
_BEFORE, _GUEST, _AFTER = (0, 6), (3, 24), (0, 12)


@dataclass(frozen=True)
class Embedded:
    """A host's text around a guest's.

    Attributes:
        text: all of it.
        shown: its first characters, from which on the host can be told.
    """

    text: str
    shown: int


def embed(host: str, before: str, guest: str, generator: random.Random) -> Embedded:
    """Put some lines of a guest into a literal of a host, between lines of the host.

    Args:
        host: its label, one of HOSTS.
        before: text of the host, a whole file or a part of one from a line on.
        guest: text of the guest, likewise.
        generator: what is drawn from.
    """
    opening, closing = generator.choice(_LITERALS[host])
    name = generator.choice(_NAMES)
    lines = [line for line in before.split("\n") if line.strip()]
    first = generator.randint(*_BEFORE)
    last = first + generator.randint(*_AFTER)
    inner = guest.split("\n")[: generator.randint(*_GUEST)]
    head = "".join(f"{line}\n" for line in lines[:first]) + opening.format(name=name)
    tail = "".join(f"{line}\n" for line in lines[first:last])
    return Embedded(head + "\n".join(inner) + "\n" + closing.format(name=name) + tail, len(head))


def nonsense(generator: random.Random, characters: int) -> str:
    """Text that is no language: coded bytes, random letters or numbers, in lines."""
    alphabet = generator.choice(_ALPHABETS)
    width = generator.randint(20, 100)
    drawn = "".join(generator.choices(alphabet, k=characters))
    return "\n".join(drawn[at : at + width] for at in range(0, characters, width))
