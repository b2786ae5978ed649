"""Diagnostics and code actions: what looks secret, and what surprises the model."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Any

from lsprotocol import types

from bigcode_cli.commands.tag.redact import placeholder
from bigcode_cli.commands.tag.suppressions import Comments
from bigcode_cli.lsp.documents import Document
from gpt_bigcode.text_form import without_line_end

SOURCE = "bigcode"
SECRET = "secret"  # noqa: S105  # the kind of a diagnostic
_SURPRISING_LINES = 5
_LEAST_BYTES = 8
_DASHES = frozenset({"ada", "elm", "haskell", "lua", "sql"})
_HASHES = frozenset(
    {
        *("python", "ruby", "perl", "r", "shellscript", "sh", "bash", "fish", "yaml", "toml"),
        *("dockerfile", "makefile", "make", "cmake", "julia", "elixir", "nix", "ini", "conf", ""),
    }
)


def secrets(document: Document, spans: Sequence[Any]) -> list[types.Diagnostic]:
    """A warning on each span; it never quotes what was found."""
    if not spans:
        return []
    comments = Comments()
    for _ in comments.watch([document.text]):
        pass
    data = document.text.encode()

    def place(byte: int) -> types.Position:
        return document.position(len(data[:byte].decode()))

    return [
        types.Diagnostic(
            range=types.Range(place(span.start), place(span.end)),
            severity=types.DiagnosticSeverity.Warning,
            source=SOURCE,
            code=span.label,
            message=f"looks like {span.label}; a comment `bigcode: allow` on this line allows it",
            data={"kind": SECRET, "label": span.label},
        )
        for span in spans
        if not comments.allow(span)
    ]


def surprises(document: Document, scores: Sequence[Any]) -> list[types.Diagnostic]:
    """A hint on the lines that the model expected least."""
    judged = [line for line in scores if line.bytes >= _LEAST_BYTES]
    judged.sort(key=lambda line: -(line.bits_per_byte or 0))
    lines = document.text.split("\n")  # the model's lines
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    found = []
    for score in judged[:_SURPRISING_LINES]:
        start = starts[score.line - 1]
        end = start + len(without_line_end(lines[score.line - 1]))
        found.append(
            types.Diagnostic(
                range=types.Range(document.position(start), document.position(end)),
                severity=types.DiagnosticSeverity.Hint,
                source=SOURCE,
                code="surprising",
                message=f"surprising line: {score.bits_per_byte:.1f} bits per byte",
            )
        )
    return found


def actions(params: types.CodeActionParams, document: Document) -> list[types.CodeAction]:
    """Allow a line by a comment, or replace what was found by its label."""
    found = []
    uri = params.text_document.uri
    for diagnostic in params.context.diagnostics:
        data = diagnostic.data
        if diagnostic.source != SOURCE or not isinstance(data, dict) or data.get("kind") != SECRET:
            continue
        end = document.line_end(diagnostic.range.end.line)
        comment = f"  {comment_mark(document.language, uri)} bigcode: allow"
        redaction = placeholder(str(data.get("label", SECRET)))
        found += [
            _action("Allow this line", uri, types.TextEdit(types.Range(end, end), comment)),
            _action(f"Replace by {redaction}", uri, types.TextEdit(diagnostic.range, redaction)),
        ]
    return found


def _action(title: str, uri: str, edit: types.TextEdit) -> types.CodeAction:
    return types.CodeAction(
        title=title,
        kind=types.CodeActionKind.QuickFix,
        edit=types.WorkspaceEdit(changes={uri: [edit]}),
    )


def comment_mark(language: str, uri: str) -> str:
    """What begins a comment in a language, by its identifier in the protocol."""
    name = language.lower()
    if name in _HASHES or PurePosixPath(uri).suffix == ".py":
        return "#"
    return "--" if name in _DASHES else "//"
