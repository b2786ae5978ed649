"""What the content of a file must show, or must not, to be in the language that its name says."""

from __future__ import annotations

import json
import re

_CPLUSPLUS = re.compile(
    r"^\s*(?:class\s+\w+|namespace\b|template\s*<|using\s+\w|public:|private:|protected:)"
    r"|\bstd::|\bvirtual\b|#\s*include\s*<(?:string|vector|map|memory|cstdint|cstddef|utility)>"
    r"|#\s*include\s*<[\w/]+>|\bconstexpr\b|\bnullptr\b|\boperator\s*[=<>+*\[(]|\w::\w",
    re.MULTILINE,
)
# A guard for C++ readers does not make a C header C++.
_EXTERN_C = re.compile(r"#\s*ifdef __cplusplus[\s\S]{0,200}?#\s*endif")
_COMMENTS = re.compile(r"/\*[\s\S]*?\*/|//[^\n]*")
_OBJECTIVE_C = re.compile(
    r"^\s*(?:@interface|@implementation|@protocol|@import|@class)\b|^#import\b|@\""
    r"|\bNS_(?:ENUM|OPTIONS|ASSUME_NONNULL_BEGIN)\b",
    re.MULTILINE,
)
_RST = re.compile(r"^\.\. [\w-]+::|^(?:={4,}|-{4,}|~{4,})\s*$|:\w+:`|``\w", re.MULTILINE)
_MARKDOWN = re.compile(
    r"^#{1,6} \S|^```|\]\(\S+\)|^[*-] \S|^(?:={3,}|-{3,})\s*$|\*\*\w|`\w|^\d+\. \S", re.MULTILINE
)
_SHELL_FIRST = re.compile(r"#!.*\b(?:ba|da|z|k)?sh\b")
_FIRST_LINE = (
    (_SHELL_FIRST, "Shell"),
    (re.compile(r"#!.*\bperl"), "Perl"),
    (re.compile(r"#!.*\bpython"), "Python"),
    (re.compile(r"#!.*\bruby"), "Ruby"),
    (re.compile(r"#!.*\bphp"), "PHP"),
    (re.compile(r"#!.*\bnode"), "JavaScript"),
    (re.compile(r"#!.*\blua"), "Lua"),
)
_LISP = re.compile(r"^\(\w", re.MULTILINE)
_NEEDED = {
    "Assembly": re.compile(
        r"^\s*(?:\.\w+|[A-Za-z_.]\w*:|%\w+|\w{2,8}\s+[%$\w\[(.-]+,)", re.MULTILINE
    ),
    "AWK": re.compile(r"\b(?:BEGIN|END|print|printf|function|getline|NR|NF)\b|\$\d"),
    "Clojure": re.compile(r"^[(\[{#:]", re.MULTILINE),
    "Common Lisp": _LISP,
    "D": re.compile(r"^\s*(?:module|import|private import|public import)\s+[\w.]+", re.MULTILINE),
    "Emacs Lisp": re.compile(
        r"^\((?:def|require|provide|setq|eval|with|let|if|when|use|put)", re.MULTILINE
    ),
    "GraphQL": re.compile(
        r"\b(?:type|query|mutation|fragment|input|enum|interface|scalar|schema|union|extend"
        r"|subscription|directive)\b|^\s*\{"
    ),
    "Jupyter Notebook": re.compile(r"\"cells\"\s*:"),
    "LaTeX": re.compile(r"\\\w+\s*[\[{]"),
    "MATLAB": re.compile(
        r"^\s*(?:function\b|classdef\b|%|end\s*;?\s*$|\w+\s*=\s*[^=].*;\s*$|\w+\(.*\);\s*$)",
        re.MULTILINE,
    ),
    "Pascal": re.compile(r"\b(?:begin|unit|program|procedure|uses)\b", re.IGNORECASE),
    "Prolog": re.compile(
        r"^:-|^[a-z]\w*(?:\(.*\))?\s*:-|^[a-z]\w*\(.*\)\.\s*$|^[a-z]\w*.*-->", re.MULTILINE
    ),
    "R": re.compile(r"<-|\bfunction\s*\(|\blibrary\(|\w\("),
    "Roff": re.compile(r"^\.(?:TH|SH|Dd|Sh|Nm|PP|B)\b", re.MULTILINE),
    "Scheme": _LISP,
    "Tcl": re.compile(
        r"^\s*(?:proc|set|package|namespace|puts|if|foreach|test|source)\b", re.MULTILINE
    ),
    "Verilog": re.compile(r"\b(?:endmodule|endpackage|endclass|endinterface|always|assign)\b|`\w+"),
    "VHDL": re.compile(r"\b(?:entity|architecture|package|library|configuration)\b", re.IGNORECASE),
    "Vim script": re.compile(
        r"^\s*(?:\"|let|set|if|function|func|fun|call|syn|hi|au|augroup|command|nnoremap|map|Execute"
        r"|scriptencoding|finish|runtime|source)\b|^\"",
        re.MULTILINE,
    ),
    "PHP": re.compile(r"<\?(?:php|=)"),
    "HTML": re.compile(r"<\w+[^>]*>[\s\S]*</\w+>"),
    "XML": re.compile(r"^\s*(?:<!--[\s\S]*?-->\s*)?<(?:\?xml|!DOCTYPE|[\w:.-]+[\s>])"),
    "CSS": re.compile(r"[{][^{}]*:[^{}]*;?[^{}]*[}]"),
    "Perl": re.compile(
        r"(?:\bmy\s*[\$@%(]|\buse\s+[\w:]+|\$\w+\s*=|\bsub\s+\w+|^=\w+)", re.MULTILINE
    ),
    "Makefile": re.compile(r"^[\w.$(){}/%@-]+\s*(?:[:+?]?=|:)", re.MULTILINE),
    "Dockerfile": re.compile(r"^\s*FROM\s+\S+", re.MULTILINE | re.IGNORECASE),
    "INI": re.compile(r"^\[[^\]\n]+\]\s*$", re.MULTILINE),
    "TOML": re.compile(r"^(?:\[.+\]|[\w.\"'-]+\s*=\s*\S)", re.MULTILINE),
    "YAML": re.compile(r"^\s*(?:- )?[^\s#:][^:\n]*:(?:\s|$)|^\s*- \S", re.MULTILINE),
    "Markdown": _MARKDOWN,
    "reStructuredText": _RST,
    "Diff": re.compile(r"^--- [\s\S]*?^\+\+\+ [\s\S]*?^@@ ", re.MULTILINE),
    "SQL": re.compile(
        r"\b(?:select|insert|update|delete|create|alter|drop|with|grant|set|explain|merge"
        r"|truncate|call|values|begin|declare)\b",
        re.IGNORECASE,
    ),
    "Batch": re.compile(r"^\s*(?:@?echo|rem|set|if|call|goto|::|@)", re.MULTILINE | re.IGNORECASE),
    "TypeScript": re.compile(r"\b(?:import|export|const|let|function|class|interface|type|var)\b"),
    "Objective-C": re.compile(r"@(?:interface|implementation|import|protocol|end)|#import"),
}
_REFUSED = {
    "Assembly": re.compile(r"^\s*#include <std|\bint main\b", re.MULTILINE),
    "Common Lisp": re.compile(r"\b__kernel\b"),
    "LaTeX": re.compile(r"^VERSION 1\.0 CLASS|\{%"),
    "MATLAB": re.compile(r"@(?:interface|implementation|import|end)\b|^\(\*|^:- ", re.MULTILINE),
    "Verilog": re.compile(r"^\s*(?:Require|Theorem|Lemma|Proof)\b", re.MULTILINE),
    "TypeScript": re.compile(r"^\s*(?:<\?xml|<!DOCTYPE TS)"),
    "HTML": re.compile(r"\{%|\{\{|<%|<\?(?:php|xml)|<jsp:|th:\w+="),
    "JavaScript": re.compile(r"^\s*(?:<|\{%)|@flow|\bimport type\b|__esModule|# sourceMappingURL="),
    "CSS": re.compile(r"\{%|\{\{|@include|@mixin|^\$\w+:", re.MULTILINE),
    "YAML": re.compile(r"\{\{-?\s*(?:if|range|define|template|include)|\{%"),
    "XML": re.compile(r"<html|\{%|\{\{", re.IGNORECASE),
    "SQL": re.compile(r"\{%|\{\{|<%"),
    "Python": re.compile(r"^\s*\{%"),
    "PHP": re.compile(r"^\s*\{%"),
    "C": re.compile(r"^\s*(?:class\s+\w+|namespace\b|template\s*<|@implementation)", re.MULTILINE),
    "Diff": re.compile(r"\x00"),
}
_CSV_CELLS = 2


def language_of(labels: tuple[str, ...], text: str) -> str | None:
    """The one of several languages with the same file names whose content this is; None: none."""
    if "C" in labels and "C++" in labels:
        return header_language(text)
    if "Objective-C" in labels and _OBJECTIVE_C.search(text):
        return "Objective-C"
    # By what only Prolog has; the look of Perl is the weaker one.
    rest = sorted((label for label in labels if label != "Objective-C"), reverse=True)
    return next((label for label in rest if agrees(label, text)), None)


def header_language(text: str) -> str:
    """C, C++ or Objective-C of a `.h` file."""
    if _OBJECTIVE_C.search(text):
        return "Objective-C"
    code = _COMMENTS.sub(" ", _EXTERN_C.sub(" ", text))
    return "C++" if _CPLUSPLUS.search(code) else "C"


def by_first_line(text: str) -> str | None:
    """Scripts say in their first line who runs them."""
    first = text.partition("\n")[0]
    return next((label for pattern, label in _FIRST_LINE if pattern.match(first)), None)


def agrees(label: str, text: str) -> bool:
    """Whether a text shows nothing that contradicts its label, and what the label needs."""
    if label in ("JSON", "Jupyter Notebook") and not _is_json(text):
        return False
    if label == "CSV" and not _is_table(text):
        return False
    needed, refused = _NEEDED.get(label), _REFUSED.get(label)
    if refused is not None and refused.search(text):
        return False
    return needed is None or needed.search(text) is not None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _is_table(text: str) -> bool:
    """Whether most lines have as many separators as the first one."""
    lines = [line for line in text.split("\n") if line.strip()]
    counts = [max(line.count(mark) for mark in ",;\t|") for line in lines]
    alike = sum(count == counts[0] for count in counts)
    return len(lines) > _CSV_CELLS and counts[0] > 0 and alike * 2 > len(lines)
