"""Which language a file is in, told by its name and checked by its content.

`None` means that the name is ambiguous, or that the content contradicts it: such a file is left
out, because a wrong label costs more than a missing file. Files in a language that is no label are
`unknown/` and its name.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from gpt_bigcode.labeling.languages import LANGUAGES, UNKNOWN, aliases, by_name
from training.languages import contents, telling

TRANSLATIONS = ".po"
LABELS = (*(language.name for language in LANGUAGES), UNKNOWN)
# File types of other languages. Text of these is `unknown`, and teaches that there is more.
OTHERS = {
    "ActionScript": ".as",
    "Agda": ".agda .lagda",
    "ANTLR": ".g4",
    "APL": ".apl",
    "AsciiDoc": ".adoc",
    "ASN.1": ".asn .asn1",
    "Base64": ".b64",
    "BASIC": ".bas",
    "BibTeX": ".bib",
    "Boo": ".boo",
    "Cap'n Proto": ".capnp",
    "Certificates": ".pem .crt",
    "COBOL": ".cob .cbl",
    "CoffeeScript": ".coffee",
    "ColdFusion": ".cfm",
    "Crystal": ".cr",
    "Cypher": ".cypher",
    "Cython": ".pyx .pxd",
    "Devicetree": ".dts",
    "DTD": ".dtd",
    "Eiffel": ".e",
    "EJS": ".ejs",
    "Elm": ".elm",
    "ERB": ".erb",
    "F# or Forth": ".fs .fsx .fsi .fth .4th",
    "FlatBuffers": ".fbs",
    "FreeMarker": ".ftl",
    "GDScript": ".gd",
    "Gettext": ".pot",
    "Gherkin": ".feature",
    "GLSL": ".glsl .vert .frag",
    "Gnuplot": ".gp .gnuplot .plt",
    "Graphviz": ".dot .gv",
    "Haml": ".haml",
    "Handlebars": ".handlebars .hbs .mustache",
    "Haxe": ".hx",
    "HLSL": ".hlsl",
    "Hy": ".hy",
    "Idris": ".idr",
    "IDL": ".idl",
    "Io": ".io",
    "Jinja": ".j2 .jinja .jinja2",
    "JSP": ".jsp",
    "LDIF": ".ldif",
    "Lean": ".lean",
    "Lex": ".l .ll",
    "LFE": ".lfe",
    "M4": ".m4 .ac",
    "Mako": ".mako",
    "Modula-2": ".mi .m2",
    "MoonScript": ".moon",
    "NSIS": ".nsi .nsh",
    "OpenCL": ".cl",
    "Org": ".org",
    "Pike": ".pike .pmod",
    "PlantUML": ".puml",
    "PostScript": ".ps .eps",
    "POV-Ray": ".pov",
    "Properties": ".properties",
    "Pug": ".pug .jade",
    "Puppet": ".pp",
    "PureScript": ".purs",
    "QML": ".qml",
    "Racket": ".rkt",
    "Ragel": ".rl",
    "Raku": ".raku .p6 .pm6",
    "Rego": ".rego",
    "RON": ".ron",
    "SAS": ".sas",
    "sed": ".sed",
    "Slim": ".slim",
    "Smalltalk": ".st",
    "SPARQL": ".sparql .rq",
    "Squirrel": ".nut",
    "Standard ML": ".sml .sig .fun",
    "Stylus": ".styl",
    "SWIG": ".swg",
    "Textile": ".textile",
    "Thrift": ".thrift",
    "Turtle": ".ttl",
    "Twig": ".twig",
    "Typst": ".typ",
    "Vala": ".vala",
    "Velocity": ".vm",
    "Visual Basic": ".vb",
    "WebAssembly": ".wat .wast",
    "XQuery": ".xq .xquery",
    "Yacc": ".y .yy",
}
# Never trained on: what the answer `unknown` is measured with.
UNSEEN = frozenset(
    {"ActionScript", "BASIC", "Cap'n Proto", "COBOL", "CoffeeScript", "Crystal", "Eiffel", "GLSL"}
    | {"F# or Forth", "Gherkin", "Gnuplot", "Haxe", "Hy", "Idris", "Modula-2", "NSIS", "Org", "Pug"}
    | {"PureScript", "QML", "Raku", "Rego", "Slim", "SPARQL", "Standard ML", "Stylus", "Twig"}
    | {"Thrift", "Vala", "XQuery", "Squirrel", "Typst", "Graphviz", "Devicetree", "Puppet"}
)
_OTHER_SUFFIXES = {suffix: name for name, found in OTHERS.items() for suffix in found.split()}
# Highlighters come with a sample of each language, which is called by the language's name.
_SAMPLE = re.compile(
    r"testdata/([\w+#-]+)\.actual$|(?:visual/samples|rouge/demos)/([\w+#-]+)$"
    r"|test/detect/([\w+#-]+)/default\.txt$|samples/([\w+#-]+)\.sample$"
)
_SAMPLE_NAMES = {
    **{re.sub(r"\W", "", name.lower()): f"{UNKNOWN}/{name}" for name in OTHERS},
    **dict(aliases()),
}
_TEXT_REFUSED = re.compile(
    r"^\.\. |^#{1,6} |^```|^\s*(?:<\w+|\{|\}|#include|import |def |class |SELECT )|;\s*$|\{\{|^@",
    re.MULTILINE,
)
_TEXT_REFUSED_NAME = re.compile(
    r"requirements|constraints|robots|manifest|test|data|dict|words|list|std(?:err|out)|result|expect"
    r"|output|baseline|golden|tags|version|sources|entry_points|top_level|installed|links"
)
_LETTERS = re.compile(r"[^\W\d_]{2,}")
MIN_WORD_SHARE = 0.65
MIN_WORDS_OF_A_LINE = 3


def label_of(path: str, text: str) -> str | None:
    """The language of a file that lies at `path` inside its package."""
    name = PurePosixPath(path).name.lower()
    sample = _sample(path)
    if sample is not None or name.endswith(TRANSLATIONS):
        return sample or "Plain text"
    known = by_name(name)
    if len(known) > 1:
        return contents.language_of(known, text)
    found = known[0] if known else None
    if found is None and "." not in name[1:]:
        found = contents.by_first_line(text)
    elif name == "cargo.toml.orig":
        found = "TOML"
    if found == "Plain text" and not _is_prose(name, text):
        return None
    if found is not None and contents.agrees(found, text):
        return found
    other = _OTHER_SUFFIXES.get(PurePosixPath(name).suffix)
    return None if other is None else f"{UNKNOWN}/{other}"


def certain_label_of(path: str, text: str) -> str | None:
    """As `label_of`; None too for a file that says too little of its language."""
    found = label_of(path, text)
    return found if found is not None and telling.file_tells(found, text) else None


def group_of(path: str) -> str | None:
    """What the name alone says, "script" for a name without a suffix, None for nothing of use."""
    name = PurePosixPath(path).name.lower()
    known = by_name(name)
    other = _OTHER_SUFFIXES.get(PurePosixPath(name).suffix)
    if known or other:
        return known[0] if known else f"{UNKNOWN}/{other}"
    if _sample(path) or name == "cargo.toml.orig" or name.endswith(TRANSLATIONS):
        return "sample"
    return None if "." in name[1:] else "script"


def known_label(label: str) -> str:
    """A label of the model: every other language is `unknown`."""
    return label.partition("/")[0] if label.startswith(f"{UNKNOWN}/") else label


def _sample(path: str) -> str | None:
    """What a highlighter calls a sample."""
    found = _SAMPLE.search(path)
    if found is None:
        return None
    name = next(part for part in found.groups() if part)
    return _SAMPLE_NAMES.get(re.sub(r"[_-]", "", name.lower()))


def _is_prose(name: str, text: str) -> bool:
    """Words make most of it, and no markup or code shows."""
    if _TEXT_REFUSED_NAME.search(name) or len(_TEXT_REFUSED.findall(text)) > text.count("\n") / 50:
        return False
    words = _LETTERS.findall(text)
    lines = sum(not line.isspace() for line in text.splitlines() if line)
    return len(words) >= MIN_WORDS_OF_A_LINE * lines and (
        sum(map(len, words)) >= MIN_WORD_SHARE * len("".join(text.split()))
    )
