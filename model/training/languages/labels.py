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
    "Bnd": ".bnd",
    "Boo": ".boo",
    "Cap'n Proto": ".capnp",
    "Certificates": ".pem .crt",
    "COBOL": ".cob .cbl",
    "CoffeeScript": ".coffee",
    "ColdFusion": ".cfm",
    "Crystal": ".cr",
    "Cypher": ".cypher",
    "Cython": ".pyx .pxd",
    "Debian symbols": ".symbols",
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
    "Hex dump": ".hex",
    "HLSL": ".hlsl",
    "Hy": ".hy",
    "Idris": ".idr",
    "IDL": ".idl",
    "Imba": ".imba",
    "Io": ".io",
    "Jinja": ".j2 .jinja .jinja2",
    "Jsonnet": ".jsonnet .libsonnet",
    "JSP": ".jsp",
    "LDIF": ".ldif",
    "Lean": ".lean",
    "Lex": ".l .ll",
    "LFE": ".lfe",
    "Log": ".log",
    "M4": ".m4 .ac",
    "Mako": ".mako",
    "MIB": ".mib",
    "Modula-2": ".mi .m2",
    "MoonScript": ".moon",
    "NSIS": ".nsi .nsh",
    "Object dump": ".objdump .dump",
    "OpenCL": ".cl",
    "Org": ".org",
    "Path list": ".install .links .docs .dirs .manpages",
    "Pike": ".pike .pmod",
    "PlantUML": ".puml",
    "PostScript": ".ps .eps",
    "POV-Ray": ".pov",
    "Properties": ".properties",
    "Pug": ".pug .jade",
    "Puppet": ".pp",
    "PureScript": ".purs",
    "QML": ".qml",
    "R documentation": ".rd",
    "Racket": ".rkt",
    "Ragel": ".rl",
    "Raku": ".raku .p6 .pm6",
    "Rego": ".rego",
    "Resource script": ".rc",
    "Robot Framework": ".robot",
    "RON": ".ron",
    "RPG": ".rpgle",
    "SAS": ".sas",
    "SGML": ".sgml",
    "sed": ".sed",
    "Slim": ".slim",
    "Smalltalk": ".st",
    "Snowball": ".sbl",
    "SPARQL": ".sparql .rq",
    "Squirrel": ".nut",
    "Standard ML": ".sml .sig .fun",
    "Strings": ".strings",
    "SMT-LIB": ".smt2",
    "Stan": ".stan",
    "Stylus": ".styl",
    "SWIG": ".swg",
    "Textile": ".textile",
    "Thrift": ".thrift",
    "Turtle": ".ttl",
    "Twig": ".twig",
    "Typst": ".typ",
    "Uuencoded": ".uu",
    "Vala": ".vala",
    "Velocity": ".vm",
    "Visual Basic": ".vb",
    "Visual Studio solution": ".sln",
    "WDL": ".wdl",
    "WebAssembly": ".wat .wast",
    "WGSL": ".wgsl",
    "Wiki": ".wiki",
    "Xcode project": ".pbxproj",
    "XQuery": ".xq .xquery",
    "Yacc": ".y .yy",
    "Yosys script": ".ys",
}
# Never trained on: what the answer `unknown` is measured with.
UNSEEN = frozenset(
    {"ABAP", "ActionScript", "Apex", "BASIC", "Bicep", "Cap'n Proto", "COBOL", "CoffeeScript"}
    | {"Crystal", "Devicetree", "Eiffel", "F# or Forth", "Gherkin", "GLSL", "Gnuplot", "Graphviz"}
    | {"Haxe", "Hy", "Idris", "Imba", "Jsonnet", "Modula-2", "nginx", "NSIS", "Org", "Pony", "Pug"}
    | {"Puppet", "PureScript", "QML", "Raku", "Rego", "Robot Framework", "Slim", "SMT-LIB"}
    | {"SPARQL", "Squirrel", "Stan", "Standard ML", "Stata", "Stylus", "Thrift", "Twig", "Typst"}
    | {"V", "Vala", "Visual Basic", "WDL", "WGSL", "XQuery"}
)
# Half of what is in these is a language with a label: C in a grammar, a page in a template.
HALF_KNOWN = frozenset(
    {"Cython", "EJS", "ERB", "FreeMarker", "Handlebars", "Jinja", "JSP", "Lex", "Mako", "OpenCL"}
    | {"Ragel", "SWIG", "Velocity", "Yacc"}
)
# And whole names of files: lists of what others call names, patterns or versions.
_OTHER_FILES = {
    **dict.fromkeys((".gitignore", ".npmignore", ".dockerignore", ".hgignore"), "Ignore list"),
    **dict.fromkeys(("requirements.txt", "constraints.txt", "requirements-dev.txt"), "Pins"),
    **dict.fromkeys(("go.mod", "go.sum"), "Go module"),
    "codeowners": "Owners",
    "md5sums": "Sums",
}
_OTHER_SUFFIXES = {suffix: name for name, found in OTHERS.items() for suffix in found.split()}
# Highlighters come with a sample of each language, which is called by the language's name.
_SAMPLE = re.compile(
    r"testdata/([\w+#-]+)(?:/[^/]+)?\.actual$|(?:visual/samples|rouge/demos)/([\w+#-]+)$"
    r"|test/detect/([\w+#-]+)/default\.txt$|samples/([\w+#-]+)\.sample$"
    r"|syntax-tests/source/([^/]+)/(?!LICENSE)[^/]+$"
)
# What else they call languages, and what is no language of its own: a mixture, a dialect of
# a label, or text that could be anything.
_OTHER_NAMES = {
    "ActionScript": "actionscript3",
    "BibTeX": "bib",
    "CoffeeScript": "coffee",
    "BASIC": "bbcbasic xojo",
    "F# or Forth": "fsharp f",
    "Graphviz": "dot graphvizdot",
    "Haxe": "hx",
    "Hy": "hylang",
    "Jinja": "jinja2 jinjahtml",
    "JSP": "javaserverpagejsp",
    "OpenCL": "ocl",
    "Org": "orgmode",
    "Robot Framework": "robotframework",
    "Standard ML": "sml",
    "V": "vshell",
    "Visual Basic": "vb vbnet",
    "WebAssembly": "wasm",
    "XQuery": "xpath",
}
_MIXED_NAMES = (
    "analysis armasm armassembly assemblyx8664 bashsession batchfile cfscript clean cmdhelp"
    " commonlisp conf console csvs dash datastudio eex epp escape fish fortranfixedform"
    " fortranmodern fortrannamelist gjs gts hack irb irboutput isbl jsl json5 jsonc jsondoc"
    " jsonl literatecoffeescript literatehaskell m68k manpage mason mdc mdx mxml"
    " nantbuildfile nesasm cuda arduino metal hjson hocon mojo gdresource gdshader sls dotenv"
    " nse objectivec objectivecpp phtml plaintext plist plsql postcss protocolbuffer psl"
    " python2 riscv rubyhaml rubyonrails shellscript shellsession systemd typescriptreact"
    " vuehtml vyper xaml xsl svg hql cql dreammaker dm"
)
_MIXED = frozenset(_MIXED_NAMES.split())
_UNSEEN_NAMES = {re.sub(r"\W", "", name.lower()): f"{UNKNOWN}/{name}" for name in UNSEEN}
_SAMPLE_NAMES = {
    **{re.sub(r"\W", "", name.lower()): f"{UNKNOWN}/{name}" for name in OTHERS},
    **{
        other: f"{UNKNOWN}/{name}"
        for name, found in _OTHER_NAMES.items()
        for other in found.split()
    },
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
    if name in _OTHER_FILES:
        return f"{UNKNOWN}/{_OTHER_FILES[name]}"
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
    other = _OTHER_FILES.get(name, _OTHER_SUFFIXES.get(PurePosixPath(name).suffix))
    if known or other:
        return known[0] if known else f"{UNKNOWN}/{other}"
    if _sample(path) or name == "cargo.toml.orig" or name.endswith(TRANSLATIONS):
        return "sample"
    return None if "." in name[1:] else "script"


def known_label(label: str) -> str:
    """A label of the model: every other language is `unknown`."""
    return label.partition("/")[0] if label.startswith(f"{UNKNOWN}/") else label


def of_name(name: str) -> str | None:
    """The language that people call by a name, whether a label or not; None: nobody does."""
    plain = re.sub(r"[\W_]", "", name.lower())
    return _SAMPLE_NAMES.get(name.lower(), _SAMPLE_NAMES.get(plain, _UNSEEN_NAMES.get(plain)))


def is_sample(path: str) -> bool:
    """Whether a path is that of a highlighter's sample."""
    return _SAMPLE.search(path) is not None


def _sample(path: str) -> str | None:
    """What a highlighter calls a sample."""
    found = _SAMPLE.search(path)
    if found is None:
        return None
    name = next(part for part in found.groups() if part)
    plain = re.sub(r"[\W_]", "", name.lower())
    return of_name(name) or (None if plain in _MIXED else f"{UNKNOWN}/{plain}")


def _is_prose(name: str, text: str) -> bool:
    """Words make most of it, and no markup or code shows."""
    if _TEXT_REFUSED_NAME.search(name) or len(_TEXT_REFUSED.findall(text)) > text.count("\n") / 50:
        return False
    words = _LETTERS.findall(text)
    lines = sum(not line.isspace() for line in text.splitlines() if line)
    return len(words) >= MIN_WORDS_OF_A_LINE * lines and (
        sum(map(len, words)) >= MIN_WORD_SHARE * len("".join(text.split()))
    )
