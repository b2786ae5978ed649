"""What to do about findings: how to get rid of a secret, and how to ignore a false positive."""

from collections.abc import Iterable
from pathlib import PurePath

from bigcode_cli.framework.output import safe

ALLOW = "bigcode: allow"
_STYLES = {
    f"# {ALLOW}": "bash cfg cmake conf dockerfile env ex exs gemfile hcl jl makefile nix pl"
    " properties ps1 psm1 py pyi r rake rb sh tcl tf toml txt yaml yml zsh",
    f"// {ALLOW}": "c cc cjs cpp cs cxx dart go gradle groovy h hh hpp java js jsx kt kts mjs php"
    " proto rs scala scss swift ts tsx zig",
    f"-- {ALLOW}": "adb ads elm hs lua sql vhd",
    f"<!-- {ALLOW} -->": "htm html md svg vue xhtml xml",
    f"/* {ALLOW} */": "css less",
    f"; {ALLOW}": "asm clj el ini lisp scm",
    f"% {ALLOW}": "erl m tex",
    f'" {ALLOW}': "vim",
    f"REM {ALLOW}": "bat cmd",
}
_BY_TYPE = {kind: style for style, kinds in _STYLES.items() for kind in kinds.split()}
_WITHOUT_COMMENTS = frozenset({"csv", "ipynb", "json", "lock", "tsv"})
_REVOKE = "a real secret: remove it and revoke it at its provider; git's history would keep it"


def allowing_comment(path: str) -> str | None:
    """Return the comment that allows a finding in a file; None if its language has none.

    For a file of unknown type, it is what the comment must contain.
    """
    name = PurePath(path).name.lower()
    kind = name.rpartition(".")[2]
    if kind in _WITHOUT_COMMENTS:
        return None
    return _BY_TYPE.get(kind, ALLOW)


def advice(paths: Iterable[str], *, secrets: bool, baseline: str | None) -> list[str]:
    """Return advice on findings in these files, in lines for a person.

    Args:
        paths: the files with findings.
        secrets: whether any finding is a key or a password.
        baseline: the file of the baseline, if there is one.
    """
    comments: dict[str, str] = {}
    for path in paths:
        comment = allowing_comment(path)
        if comment is not None:
            comments.setdefault(comment, path)
    styles = " or ".join(map(_shown, comments))
    add = f"add {styles} to its line, or " if styles else ""
    command = f"bigcode tag --baseline {baseline or '.bigcode-baseline.json'} --update-baseline"
    wrong = f"a false positive: {add}record it with `{safe(command)} PATH`"
    return [_REVOKE, wrong] if secrets else [wrong]


def _shown(comment: str) -> str:
    return f"a comment with `{ALLOW}`" if comment == ALLOW else f"`{comment}`"
