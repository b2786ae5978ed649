"""Diagnostics and code actions: what looks secret, and what surprises the model."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from lsprotocol import types
from pygls.workspace import PositionCodec

from bigcode_cli.commands.tag.redact import placeholder
from bigcode_cli.commands.tag.suppressions import Comments
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


def secrets(
    text: str, spans: Sequence[Any], codec: PositionCodec, lines: Sequence[str]
) -> list[types.Diagnostic]:
    """A warning on each span; it never quotes what was found.

    Args:
        text: the document.
        spans: what was found in it.
        codec: translates positions for the client.
        lines: the document's lines.
    """
    comments = Comments()
    for _ in comments.watch([text]):
        pass
    return [
        types.Diagnostic(
            range=codec.range_to_client_units(list(lines), _range(span)),
            severity=types.DiagnosticSeverity.Warning,
            source=SOURCE,
            code=span.label,
            message=f"looks like {span.label}; a comment `bigcode: allow` on this line allows it",
            data={"kind": SECRET, "label": span.label},
        )
        for span in spans
        if not comments.allow(span)
    ]


def surprises(
    scores: Sequence[Any], codec: PositionCodec, lines: Sequence[str]
) -> list[types.Diagnostic]:
    """A hint on the lines that the model expected least."""
    judged = [line for line in scores if line.bytes >= _LEAST_BYTES]
    judged.sort(key=lambda line: -(line.bits_per_byte or 0))
    found = []
    for score in judged[:_SURPRISING_LINES]:
        number = score.line - 1
        width = len(without_line_end(lines[number])) if number < len(lines) else 0
        whole = types.Range(types.Position(number, 0), types.Position(number, width))
        found.append(
            types.Diagnostic(
                range=codec.range_to_client_units(list(lines), whole),
                severity=types.DiagnosticSeverity.Hint,
                source=SOURCE,
                code="surprising",
                message=f"surprising line: {score.bits_per_byte:.1f} bits per byte",
            )
        )
    return found


def _range(span: Any) -> types.Range:
    """Lines and columns from 0, in characters."""
    return types.Range(
        types.Position(span.start_line - 1, span.start_column - 1),
        types.Position(span.end_line - 1, span.end_column - 1),
    )


def actions(
    params: types.CodeActionParams, language: str, lines: Sequence[str], codec: PositionCodec
) -> list[types.CodeAction]:
    """Allow a line by a comment, or replace what was found by its label."""
    found = []
    uri = params.text_document.uri
    for diagnostic in params.context.diagnostics:
        data = diagnostic.data
        if diagnostic.source != SOURCE or not isinstance(data, dict) or data.get("kind") != SECRET:
            continue
        number = diagnostic.range.end.line
        line = without_line_end(lines[number]) if number < len(lines) else ""
        end = types.Position(number, codec.client_num_units(line))
        comment = f"  {comment_mark(language, uri)} bigcode: allow"
        redaction = placeholder(str(data["label"]))
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
