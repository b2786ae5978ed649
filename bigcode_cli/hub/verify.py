"""Checks a model on disk: hashes of its files, headers, tokenizer and configuration."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bigcode_cli.conversion.folders import read_record
from bigcode_cli.framework.errors import Failure
from bigcode_cli.hub.cache_reader import files_below
from bigcode_cli.hub.checksums import file_digest, is_digest
from bigcode_cli.models.describe import describe
from bigcode_cli.models.resolve import Found
from gpt_bigcode.checkpoint.tensor_index import CONFIG_FILE
from gpt_bigcode.errors import CheckpointMissingError, MissingFileError, UnreadableFileError


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """One file and its hash.

    Attributes:
        name: its name in the model.
        bytes: its size.
        digest: the hash of its content.
        expected: the published hash; None if none is known.
        fault: why it cannot be read; None if it can.
    """

    name: str
    bytes: int
    digest: str | None
    expected: str | None
    fault: str | None = None

    @property
    def is_right(self) -> bool:
        """Whether the content is the one that was published, as far as can be known."""
        return self.fault is None and (self.expected is None or self.digest == self.expected)


def require_model(folder: Path) -> None:
    """Refuse a folder that is no model, such as `/`, before every file below it is looked at.

    Raises:
        CheckpointMissingError: it has no config.json.
    """
    path = folder / CONFIG_FILE
    if not os.path.lexists(path):
        raise CheckpointMissingError(f"{path}: no such file")


def checked_files(folder: Path) -> Iterator[CheckedFile]:
    """Hash a model's files that are links to contents in a cache, under the hashes they have there.

    A converted model has a list of hashes. Any other file, as in a folder of the user's own, has
    nothing to be compared with.
    """
    record = read_record(folder)
    known = {} if record is None else record.files
    for path in files_below(folder):
        shown = path.relative_to(folder).as_posix()
        expected = known.get(shown) or _expected(path)
        try:
            size = path.stat().st_size
            digest = None if expected is None else file_digest(path, expected)
        except (OSError, UnreadableFileError) as error:
            fault = _fault(error)
            yield CheckedFile(name=shown, bytes=0, digest=None, expected=expected, fault=fault)
            continue
        yield CheckedFile(name=shown, bytes=size, digest=digest, expected=expected)


def _fault(error: OSError | UnreadableFileError) -> str:
    if isinstance(error, (FileNotFoundError, MissingFileError)):
        return "is not there"
    if isinstance(error, UnreadableFileError):
        return error.reason
    return error.strerror or "cannot be read"


def _expected(path: Path) -> str | None:
    if not path.is_symlink():
        return None
    target = path.readlink().name
    return target if is_digest(target) else None


def require_right(files: list[CheckedFile], found: Found) -> None:
    """Refuse a model with a file that cannot be read, or of another content than was published.

    Raises:
        Failure: `model-corrupt`, with both hashes of the first such file.
    """
    for file in files:
        if not file.is_right:
            hashes = f"its hash is {file.digest}, expected {file.expected}"
            message = f"{found.name}: {file.name}: {file.fault or hashes}"
            repair = f"bigcode models pull {found.name} repairs it" if found.revision else None
            raise Failure("model-corrupt", message, hint=repair)


def require_consistent(folder: Path) -> None:
    """Check headers and shapes of the weights, and the tokenizer, as loading does.

    Raises:
        GPTBigCodeError: one does not fit; it is named.
    """
    from gpt_bigcode.checkpoint.tensor_index import Task, find_tensors
    from gpt_bigcode.loading import end_token_ids
    from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

    description = describe(folder)
    config = description.config
    tasks = {"classify": Task.SEQUENCE_CLASSIFICATION, "tag": Task.TOKEN_CLASSIFICATION}
    plain = Task.TRUNK if description.architecture == "GPTBigCodeModel" else Task.CAUSAL_LM
    task = next((tasks[name] for name in description.tasks if name in tasks), plain)
    find_tensors(folder, config, task, lambda _first, _second: True)
    tokenizer = CodeTokenizer.from_file(folder / "tokenizer.json")
    tokenizer.validate_against(config)
    end_token_ids(tokenizer, config, folder)
