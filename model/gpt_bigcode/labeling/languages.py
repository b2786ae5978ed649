"""The languages and formats that the built-in classifier names: identifiers, aliases, file names.

One table for the command line, for the recipe that trains the classifier, and for the tests.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

UNKNOWN = "unknown"
"""The label of a text in none of the languages, or in none for certain."""


@dataclass(frozen=True)
class Language:
    """A language or format.

    Attributes:
        name: the label.
        identifiers: lower-case names that people write; the first is the label's identifier.
        suffixes: of its files, with the dot, in lower case. Languages may share a suffix.
        file_names: whole names of its files, in lower case.
    """

    name: str
    identifiers: tuple[str, ...]
    suffixes: tuple[str, ...]
    file_names: tuple[str, ...] = ()

    @property
    def identifier(self) -> str:
        """The name that does not change with its spelling."""
        return self.identifiers[0]


def _language(name: str, identifiers: str, suffixes: str = "", file_names: str = "") -> Language:
    """From words between spaces; suffixes without their dots."""
    dotted = tuple(f".{suffix}" for suffix in suffixes.split())
    return Language(name, tuple(identifiers.split()), dotted, tuple(file_names.split()))


LANGUAGES = (
    _language("Ada", "ada", "adb ads ada gpr"),
    _language("Assembly", "assembly asm nasm", "s asm nasm"),
    _language("AWK", "awk gawk", "awk"),
    _language("Batch", "batch bat cmd", "bat cmd"),
    _language("C", "c", "c h"),
    _language("C#", "csharp c# cs", "cs"),
    _language("C++", "cpp c++ cplusplus cxx", "cc cpp cxx hpp hh hxx h"),
    _language("Clojure", "clojure clj cljs edn", "clj cljs cljc edn"),
    _language("CMake", "cmake", "cmake", "cmakelists.txt"),
    _language("Common Lisp", "common-lisp lisp cl", "lisp lsp asd cl"),
    _language("CSS", "css", "css"),
    _language("CSV", "csv", "csv"),
    _language("D", "d dlang", "d di"),
    _language("Dart", "dart", "dart"),
    _language("Diff", "diff patch", "diff patch"),
    _language("Dockerfile", "dockerfile docker containerfile", "dockerfile", "dockerfile"),
    _language("Elixir", "elixir ex", "ex exs"),
    _language("Emacs Lisp", "emacs-lisp elisp el", "el", ".emacs"),
    _language("Erlang", "erlang erl", "erl hrl escript", "rebar.config"),
    _language("Fortran", "fortran f90", "f f77 f90 f95 f03 f08 for ftn"),
    _language("Go", "go golang", "go"),
    _language("GraphQL", "graphql gql", "graphql gql graphqls"),
    _language("Groovy", "groovy gradle", "groovy gradle", "jenkinsfile"),
    _language("Haskell", "haskell hs", "hs"),
    _language("HTML", "html htm", "html htm"),
    _language(
        "INI",
        "ini cfg",
        "ini cfg desktop service socket timer wrap",
        ".editorconfig .coveragerc .flake8 .pylintrc tox.ini",
    ),
    _language("Java", "java", "java"),
    _language("JavaScript", "javascript js node jsx", "js mjs cjs jsx"),
    _language("JSON", "json", "json"),
    _language("Julia", "julia jl", "jl"),
    _language("Jupyter Notebook", "jupyter notebook ipynb", "ipynb"),
    _language("Kotlin", "kotlin kt", "kt kts"),
    _language("LaTeX", "latex tex", "tex ltx sty cls"),
    _language("Less", "less", "less"),
    _language("Lua", "lua", "lua"),
    _language("Makefile", "makefile make mk", "mk am", "makefile gnumakefile makefile.in"),
    _language("Markdown", "markdown md", "md markdown"),
    _language("MATLAB", "matlab octave", "m"),
    _language("Meson", "meson", "", "meson.build meson_options.txt"),
    _language("Nim", "nim", "nim nims nimble"),
    _language("Nix", "nix", "nix"),
    _language("Objective-C", "objective-c objc", "m h"),
    _language("OCaml", "ocaml ml", "ml mli"),
    _language("Pascal", "pascal delphi pas", "pas pp dpr lpr"),
    _language("Perl", "perl pl", "pl pm t"),
    _language("PHP", "php", "php"),
    _language(
        "Plain text",
        "plain-text text txt",
        "txt",
        "readme authors changes changelog news install todo license hacking contributors",
    ),
    _language("PowerShell", "powershell ps1 pwsh", "ps1 psm1 psd1"),
    _language("Prolog", "prolog swipl", "pl pro plt prolog"),
    _language("Protocol Buffers", "protobuf proto", "proto"),
    _language("Python", "python py python3", "py pyi"),
    _language("R", "r rlang rscript", "r"),
    _language("reStructuredText", "restructuredtext rst", "rst"),
    _language("Roff", "roff man troff groff", "1 2 3 4 5 6 7 8 man mdoc"),
    _language("Ruby", "ruby rb", "rb rake gemspec", "rakefile gemfile"),
    _language("Rust", "rust rs", "rs"),
    _language("Scala", "scala", "scala sbt"),
    _language("Scheme", "scheme scm", "scm ss sld sls sps"),
    _language("SCSS", "scss sass", "scss"),
    _language("Shell", "shell sh bash zsh ksh", "sh bash zsh ksh"),
    _language("Solidity", "solidity sol", "sol"),
    _language("SQL", "sql", "sql pgsql psql"),
    _language("Svelte", "svelte", "svelte"),
    _language("Swift", "swift", "swift"),
    _language("Tcl", "tcl tk", "tcl tk exp"),
    _language("Terraform", "terraform tf hcl", "tf tfvars hcl"),
    _language("TOML", "toml", "toml", "cargo.lock poetry.lock pipfile"),
    _language("TypeScript", "typescript ts tsx", "ts tsx mts cts"),
    _language("Verilog", "verilog systemverilog sv", "v vh sv svh"),
    _language("VHDL", "vhdl", "vhd vhdl"),
    _language("Vim script", "vim viml vimscript vim-script", "vim", ".vimrc vimrc"),
    _language("Vue", "vue", "vue"),
    _language("XML", "xml", "xml xsd xsl xslt csproj vcxproj targets nuspec plist svg"),
    _language("YAML", "yaml yml", "yaml yml"),
    _language("Zig", "zig", "zig zon"),
)


def by_name(path: str) -> tuple[str, ...]:
    """The labels that a file's name alone allows; empty if it says nothing."""
    name = PurePath(path).name.lower()
    suffix = PurePath(name).suffix
    whole = tuple(one.name for one in LANGUAGES if name in one.file_names)
    if whole:
        return whole
    if name.startswith("dockerfile."):
        return ("Dockerfile",)
    return tuple(one.name for one in LANGUAGES if suffix and suffix in one.suffixes)


def identifiers_of(labels: Iterable[str]) -> dict[str, list[str]]:
    """The identifiers of those labels that the table has, the first of each its own."""
    known = {one.name: one.identifiers for one in LANGUAGES}
    return {label: list(known[label]) for label in labels if label in known}


def aliases() -> Iterator[tuple[str, str]]:
    """Each identifier with its label."""
    for one in LANGUAGES:
        yield from ((identifier, one.name) for identifier in one.identifiers)
