"""Findings as a SARIF 2.1.0 log, for code hosts and editors.

Knows nothing of how they were found. No snippet of the text is in it.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from bigcode_cli import __version__
from bigcode_cli.commands.tag.findings import Finding, TagEntry, describe
from bigcode_cli.files.file_errors import Fault
from bigcode_cli.framework.output import safe

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
FINGERPRINT = "bigcodeSpan/v1"
_STANDARD_INPUT = "stdin"


def sarif_log(entries: Sequence[TagEntry]) -> dict[str, Any]:
    """One run with a result for every finding and a notification for every file that failed."""
    labels = sorted({finding.span.label for entry in entries for finding in entry.findings})
    ranks = {label: rank for rank, label in enumerate(labels)}
    faults = [(entry.path, entry.fault) for entry in entries if entry.fault is not None]
    run = {
        "tool": {
            "driver": {
                "name": "bigcode",
                "semanticVersion": __version__,
                "rules": [_rule(label) for label in labels],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": not any(fault.status == "error" for _, fault in faults),
                "toolExecutionNotifications": [_notification(*one) for one in faults],
            }
        ],
        "results": [
            _result(entry, finding, ranks[finding.span.label], count)
            for entry in entries
            for finding, count in _numbered(entry.findings)
        ],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(label: str) -> dict[str, Any]:
    words = safe(label)
    return {
        "id": label,
        "shortDescription": {"text": f"A text that looks like {words}."},
        "defaultConfiguration": {"level": "warning"},
    }


def _result(entry: TagEntry, finding: Finding, rank: int, count: int) -> dict[str, Any]:
    span = finding.span
    region = {
        "startLine": span.start_line,
        "startColumn": span.start_column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
        "byteOffset": span.start,
        "byteLength": span.end - span.start,
    }
    place = {"artifactLocation": {"uri": _uri(entry.path)}, "region": region}
    return {
        "ruleId": span.label,
        "ruleIndex": rank,
        "level": "warning",
        "message": {"text": describe(finding)},
        "locations": [{"physicalLocation": place}],
        # Where the same secret stands twice in a file, its places are counted.
        "partialFingerprints": {FINGERPRINT: f"{finding.fingerprint}:{count}"},
        "rank": round(100 * min(max(span.score, 0.0), 1.0), 2),
    }


def _numbered(findings: Iterable[Finding]) -> Iterable[tuple[Finding, int]]:
    seen: dict[str, int] = {}
    for finding in findings:
        seen[finding.fingerprint] = seen.get(finding.fingerprint, 0) + 1
        yield finding, seen[finding.fingerprint]


def _notification(path: str, fault: Fault) -> dict[str, Any]:
    return {
        "level": "error" if fault.status == "error" else "note",
        "message": {"text": safe(f"{path}: {fault.status}: {fault.detail}")},
        "descriptor": {"id": fault.reason},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(path)}}}],
    }


def _uri(path: str) -> str:
    """A path as a reference: relative where it is, any bytes escaped."""
    if path == "-":
        return _STANDARD_INPUT
    quoted = quote(os.fsencode(path))
    return f"file://{quoted}" if os.path.isabs(path) else quoted  # noqa: PTH117  # text
