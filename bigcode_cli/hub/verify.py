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
from gpt_bigcode.checkpoint.tensor_index import CONFIG_FILE
from gpt_bigcode.errors import CheckpointMissingError, UnreadableFileError


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """One file and its hash.

    Attributes:
        name: its name in the model.
        bytes: its size.
        digest: the hash of its content.
        expected: the published hash; None if none is known.
    """

    name: str
    bytes: int
    digest: str | None
    expected: str | None

    @property
    def is_right(self) -> bool:
        """Whether the content is the one that was published, as far as can be known."""
        return self.expected is None or self.digest == self.expected


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
        except (OSError, UnreadableFileError):
            yield CheckedFile(name=shown, bytes=0, digest=None, expected=expected or "?")
            continue
        yield CheckedFile(name=shown, bytes=size, digest=digest, expected=expected)


def _expected(path: Path) -> str | None:
    if not path.is_symlink():
        return None
    target = path.readlink().name
    return target if is_digest(target) else None


def require_right(files: list[CheckedFile], name: str) -> None:
    """Refuse a model with a file of another content than was published.

    Raises:
        Failure: `model-corrupt`, with both hashes of the first such file.
    """
    for file in files:
        if not file.is_right:
            found = "is not there" if file.digest is None else f"its hash is {file.digest}"
            message = f"{name}: {file.name}: {found}, expected {file.expected}"
            raise Failure("model-corrupt", message, hint=f"bigcode models pull {name} repairs it")


def require_consistent(folder: Path) -> None:
    """Check headers and shapes of the weights, and the tokenizer, against the configuration.

    Raises:
        GPTBigCodeError: one does not fit; it is named.
    """
    from gpt_bigcode.checkpoint.tensor_index import Task, find_tensors
    from gpt_bigcode.tokenization.tokenizer_json import TokenizerDefinition
    from gpt_bigcode.tokenization.vocab_files import has_vocab_files

    description = describe(folder)
    config = description.config
    tasks = {"classify": Task.SEQUENCE_CLASSIFICATION, "tag": Task.TOKEN_CLASSIFICATION}
    plain = Task.TRUNK if description.architecture == "GPTBigCodeModel" else Task.CAUSAL_LM
    task = next((tasks[name] for name in description.tasks if name in tasks), plain)
    find_tensors(folder, config, task, lambda _first, _second: True)
    tokenizer = folder / "tokenizer.json"
    if not os.path.lexists(tokenizer) and not has_vocab_files(folder):
        return
    highest = max(TokenizerDefinition.from_file(tokenizer).contents)
    if highest >= config.vocab_size:
        from gpt_bigcode.errors import TokenizerError

        raise TokenizerError(
            f"tokenizer.json: id {highest}, but the model's vocabulary has"
            f" {config.vocab_size} tokens"
        )
