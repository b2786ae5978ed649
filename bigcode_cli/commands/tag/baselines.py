"""The baseline of `bigcode tag`: findings that are known, by fingerprint and file.

Knows nothing of models. The file names no line and no secret, one finding stands on each of its
lines, and their order is that of their names: so it changes only where findings do.
"""

import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.io.atomic_files import open_target, rewrite

VERSION = 1
_MOST_BYTES = 64 * 10**6
_SALT_BYTES = 16


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
    """A baseline as it was read.

    Attributes:
        file: where it is.
        salt: what its fingerprints are mixed with.
        known: its findings.
        root: the folder that the paths of this call are relative to.
    """

    file: Path
    salt: str
    known: frozenset[Known]
    root: str = os.curdir

    @classmethod
    def read(cls, file: Path, *, salt: str | None, create: bool) -> "Baseline":
        """Read a baseline.

        Args:
            file: its name.
            salt: what the user says; None: nothing.
            create: begin a new one if there is none.

        Raises:
            UsageFailure: another salt than the baseline's.
            Failure: `baseline`: it cannot be read, or is none.
        """
        hint = "bigcode tag --baseline FILE --update-baseline PATH... makes one"
        try:
            with file.open("rb") as stream:
                data = stream.read(_MOST_BYTES + 1)
        except FileNotFoundError:
            if create:
                return cls(file, salt or secrets.token_hex(_SALT_BYTES), frozenset())
            raise Failure("baseline", f"{file}: there is no such file", hint=hint) from None
        except (OSError, ValueError) as error:
            raise Failure("baseline", f"{file}: {getattr(error, 'strerror', error)}") from None
        try:
            found, known = _parse(data)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise Failure("baseline", f"{file}: is no baseline of bigcode tag", hint=hint) from None
        if salt is not None and salt != found:
            raise UsageFailure("--salt: the baseline was made with another one")
        return cls(file, found, known)

    def within(self, root: str) -> "Baseline":
        """The same, for paths that are relative to another folder than the current one."""
        return replace(self, root=root)

    def is_at(self, path: str) -> bool:
        """Whether a file of this call is the baseline itself."""
        return self._key(path) == self.file.name

    def entry(self, path: str, label: str, fingerprint: str) -> Known:
        """What the baseline would hold for a finding in a file of this call."""
        return Known(self._key(path), label, fingerprint)

    def updated(self, found: Iterable[Known], searched: Iterable[str]) -> "Baseline":
        """The baseline after a search.

        Args:
            found: the findings.
            searched: the files that were searched; what was known of them and not found again is
                dropped, as is what was known of files that are no more.
        """
        done = {self._key(path) for path in searched}
        folder = os.path.dirname(os.path.abspath(self.file))  # noqa: PTH100, PTH120  # text
        kept = {
            entry
            for entry in self.known
            if entry.path not in done and os.path.lexists(os.path.join(folder, entry.path))  # noqa: PTH118
        }
        return replace(self, known=frozenset({*kept, *found}))

    def write(self) -> bool:
        """Write the file as a whole; whether it was not the same already.

        Raises:
            Failure: `baseline` or `in-place`: it cannot be written.
        """
        if self.file.exists():
            target = open_target(self.file)
            return rewrite(target, target.path.read_bytes(), self.to_bytes())
        draft = self.file.with_name(f".{self.file.name[:100]}.{os.getpid()}")
        try:
            with draft.open("xb") as stream:
                stream.write(self.to_bytes())
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(self.file)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise Failure("baseline", f"{self.file}: {error.strerror}") from None
        return True

    def to_bytes(self) -> bytes:
        """What the file holds."""
        entries = [json.dumps(entry._asdict()) for entry in sorted(self.known)]
        lines = ",\n    ".join(entries)
        findings = f"[\n    {lines}\n  ]" if lines else "[]"
        salt = json.dumps(self.salt)
        text = f'{{\n  "version": {VERSION},\n  "salt": {salt},\n  "findings": {findings}\n}}\n'
        return text.encode()

    def _key(self, path: str) -> str:
        """A file's name relative to the folder of the baseline, wherever the call was made."""
        if path == "-":
            return path
        folder = os.path.dirname(os.path.abspath(self.file))  # noqa: PTH100, PTH120  # text
        return os.path.relpath(os.path.join(self.root, path), folder)  # noqa: PTH118


def _parse(data: bytes) -> tuple[str, frozenset[Known]]:
    if len(data) > _MOST_BYTES:
        raise ValueError("too large")
    document: dict[str, Any] = json.loads(data.decode("utf-8"))
    if document["version"] != VERSION:
        raise ValueError("another version")
    known = frozenset(
        Known(entry["path"], entry["label"], entry["fingerprint"]) for entry in document["findings"]
    )
    texts = [document["salt"], *(value for entry in known for value in entry)]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("not a text")
    return document["salt"], known
