"""The baseline of `bigcode tag`: known findings, by fingerprint and file.

The file has one finding per line, sorted by file, without line numbers or secrets: it changes only
where findings do.
"""

import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from bigcode_cli.commands.tag.fingerprints import Fingerprints
from bigcode_cli.files.sources import FileNames
from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.io.atomic_files import Target, atomic_write, folder_lock, open_target
from gpt_bigcode.errors import MissingFileError, UnreadableFileError
from gpt_bigcode.reading import parse_json, read_checked

VERSION = 1
_MAX_BYTES = 64 * 10**6
_SALT_BYTES = 16
_HINT = "bigcode tag --baseline FILE --update-baseline PATH... makes one"


class Known(NamedTuple):
    """A finding of a baseline.

    Attributes:
        path: its file, relative to the folder of the baseline.
        label: its label.
        fingerprint: see `fingerprints`.
    """

    path: str
    label: str
    fingerprint: str


@dataclass(frozen=True)
class Baseline:
    """A baseline that was read.

    Attributes:
        file: where it is.
        salt: the salt of its fingerprints.
        known: its findings.
        root: the folder to which this call's paths are relative; "" is the current one.
    """

    file: Path
    salt: str
    known: frozenset[Known]
    root: str = ""

    @classmethod
    def read(cls, file: Path, *, salt: str | None, create: bool) -> "Baseline":
        """Read a baseline.

        Args:
            file: its name.
            salt: the value of --salt, if given.
            create: start a new one if there is none.

        Raises:
            UsageFailure: the salt differs from the baseline's.
            Failure: `baseline`: it cannot be read, or is not a baseline.
        """
        try:
            data = read_checked(file, max_bytes=_MAX_BYTES)
        except MissingFileError:
            if create:
                return cls(file, salt or secrets.token_hex(_SALT_BYTES), frozenset())
            raise Failure("baseline", f"{file}: there is no such file", hint=_HINT) from None
        except UnreadableFileError as error:
            raise Failure("baseline", f"{file}: {error.reason}") from None
        baseline = cls._parsed(file, data)
        if salt is not None and salt != baseline.salt:
            raise UsageFailure("--salt: the baseline was made with another one")
        return baseline

    @classmethod
    def _parsed(cls, file: Path, data: bytes) -> "Baseline":
        try:
            return cls(file, *_parse(data))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Failure(
                "baseline", f"{file}: is not a baseline of bigcode tag", hint=_HINT
            ) from None

    def within(self, root: str) -> "Baseline":
        """Return the same baseline for paths that are relative to another folder."""
        return replace(self, root=root)

    def is_at(self, path: str) -> bool:
        """Tell whether a file is the baseline itself."""
        itself = FileNames.beside(self.file).of(str(self.file))
        return self._names.of(path) == itself

    def entry(self, path: str, label: str, fingerprint: str) -> Known:
        """Return the entry of the baseline for a finding."""
        return Known(self._names.of(path), label, fingerprint)

    def update(
        self,
        found: Iterable[tuple[str, str, str]],
        searched: Iterable[str],
        fingerprints: Fingerprints,
    ) -> tuple[int, bool]:
        """Write the findings of a search into the file, atomically for all processes.

        The present file is updated, not the one that was read at the start, so that searches that
        run at once all add to it.

        Args:
            found: path, label and text of each finding.
            searched: the files that were searched; their findings that were not found again are
                dropped, as are those of files that no longer exist.
            fingerprints: fingerprints with this baseline's salt, which may be cached.

        Returns:
            The number of findings in it, and whether it has changed.

        Raises:
            Failure: `baseline`, `changed` or `busy`: it cannot be written.
        """
        with folder_lock(self.file):
            target = open_target(
                self.file, option="--baseline", slug="baseline", max_bytes=_MAX_BYTES, create=True
            )
            now = replace(self._now(target), root=self.root)
            if now.salt != self.salt:  # another process has created the file meanwhile
                fingerprints = Fingerprints(now.salt)
            entries = (
                now.entry(path, label, fingerprints.of(label, text)) for path, label, text in found
            )
            after = now.updated(entries, searched)
            return len(after.known), atomic_write(target, after.to_bytes())

    def _now(self, target: Target) -> "Baseline":
        """Return the baseline as the file is now."""
        if target.status is None:
            return replace(self, known=frozenset())
        return self._parsed(self.file, target.data)

    def updated(self, found: Iterable[Known], searched: Iterable[str]) -> "Baseline":
        """Return the baseline after a search, see `update`."""
        done = {self._names.of(path) for path in searched}
        folder = self._names.folder
        kept = {
            entry
            for entry in self.known
            if entry.path not in done and os.path.lexists(os.path.join(folder, entry.path))  # noqa: PTH118
        }
        return replace(self, known=frozenset({*kept, *found}))

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        entries = [json.dumps(entry._asdict()) for entry in sorted(self.known)]
        lines = ",\n    ".join(entries)
        findings = f"[\n    {lines}\n  ]" if lines else "[]"
        salt = json.dumps(self.salt)
        text = f'{{\n  "version": {VERSION},\n  "salt": {salt},\n  "findings": {findings}\n}}\n'
        return text.encode()

    @cached_property
    def _names(self) -> FileNames:
        return FileNames.beside(self.file).within(self.root)


def _parse(data: bytes) -> tuple[str, frozenset[Known]]:
    document: dict[str, Any] = parse_json(data, file_names=True)
    if document["version"] != VERSION:
        raise ValueError("another version")
    if not isinstance(document["findings"], list):
        raise TypeError("not a list of findings")
    known = frozenset(
        Known(entry["path"], entry["label"], entry["fingerprint"]) for entry in document["findings"]
    )
    texts = [document["salt"], *(value for entry in known for value in entry)]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("not a text")
    return document["salt"], known
