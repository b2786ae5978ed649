"""Findings as a SARIF 2.1.0 log for code hosts and editors, without snippets of the text."""

import os
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from bigcode_cli import __version__
from bigcode_cli.commands.tag.findings import Finding, TagEntry, describe
from bigcode_cli.files.results import FileError
from bigcode_cli.framework.output import safe

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
FINGERPRINT = "bigcodeSpan/v1"
_STANDARD_INPUT = "stdin"
_KINDS = {
    "KEY": "API key, token or private key",
    "PASSWORD": "password",
    "EMAIL": "e-mail address",
    "IP_ADDRESS": "public IP address",
    "NAME": "name of a person",
    "USERNAME": "user name",
}
_SECRETS = frozenset({"KEY", "PASSWORD"})


def sarif_log(entries: Sequence[TagEntry]) -> dict[str, Any]:
    """One run with a result for every finding and a notification for every file that failed."""
    kinds = sorted({_kind(finding) for entry in entries for finding in entry.findings})
    ranks = {kind: rank for rank, kind in enumerate(kinds)}
    faults = [(entry.path, entry.fault) for entry in entries if entry.fault is not None]
    run = {
        "tool": {
            "driver": {
                "name": "bigcode",
                "semanticVersion": __version__,
                "rules": [_rule(*kind) for kind in kinds],
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
            _result(entry, finding, ranks[_kind(finding)], count)
            for entry in entries
            for finding, count in _numbered(entry.findings)
        ],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _kind(finding: Finding) -> tuple[str, str]:
    """Return label and provider; "" if it is unknown."""
    return finding.span.label, finding.provider or ""


def _rule_id(label: str, provider: str) -> str:
    return f"{label}/{provider.lower().replace(' ', '-')}" if provider else label


def _rule(label: str, provider: str) -> dict[str, Any]:
    what = provider or _KINDS.get(label, f"text labelled {safe(label)}")
    secret = label in _SECRETS
    advice = "Remove it and revoke it at its provider." if secret else "Remove it if it is private."
    return {
        "id": _rule_id(label, provider),
        "shortDescription": {"text": f"Possible {what}."},
        "help": {
            "text": f"{advice} To ignore a false positive, add a `bigcode: allow` comment to its"
            " line or record it in a baseline."
        },
        "defaultConfiguration": {"level": "error" if secret else "warning"},
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
        "ruleId": _rule_id(*_kind(finding)),
        "ruleIndex": rank,
        "level": "error" if span.label in _SECRETS else "warning",
        "message": {"text": f"Possible {describe(finding)}."},
        "locations": [{"physicalLocation": place}],
        # The same secret may occur several times in a file: occurrences are counted.
        "partialFingerprints": {FINGERPRINT: f"{finding.fingerprint}:{count}"},
        "rank": round(100 * min(max(span.score, 0.0), 1.0), 2),
    }


def _numbered(findings: Iterable[Finding]) -> Iterable[tuple[Finding, int]]:
    seen: dict[str, int] = {}
    for finding in findings:
        seen[finding.fingerprint] = seen.get(finding.fingerprint, 0) + 1
        yield finding, seen[finding.fingerprint]


def _notification(path: str, fault: FileError) -> dict[str, Any]:
    return {
        "level": "error" if fault.status == "error" else "note",
        "message": {"text": safe(f"{path}: {fault.status}: {fault.detail}")},
        "descriptor": {"id": fault.reason},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(path)}}}],
    }


def _uri(path: str) -> str:
    """Return a path as a URI reference, with bytes escaped."""
    if path == "-":
        return _STANDARD_INPUT
    quoted = quote(os.fsencode(path))
    return f"file://{quoted}" if os.path.isabs(path) else quoted  # noqa: PTH117  # text
