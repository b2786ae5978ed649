"""What a run does, as plain data: it goes to every worker and into the manifest."""

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from gpt_bigcode.reading import parse_json

BATCH_ROWS = 256
"""The most rows of a block that are read at once."""
BATCH_BYTES = 4 << 20
"""Rows that are read at once hold about as much, unless a single one holds more."""
_BLOCK_ROWS = 1024
_BLOCK_BYTES = 2 << 20
_MANY_BLOCKS = 100_000

Counts = tuple[int, int, int]
"""Rows, tokens and failed rows: what progress shows."""


class JobKind(StrEnum):
    """What is done with each document."""

    SCORE = "score"
    CLASSIFY = "classify"
    TAG = "tag"
    COMPLETE = "complete"
    INFILL = "infill"


class DataFormat(StrEnum):
    """How the output is written."""

    PARQUET = "parquet"
    JSONL = "jsonl"


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """Which model a worker loads, and how.

    Attributes:
        name: what the user called it.
        folder: where it is; every node must see it there, or find `name` in its own cache.
        revision: the commit, where there is one.
        content: a hash of the weights; another model gives another one.
        batch_tokens: tokens that are computed together; None: what suits the model.
    """

    name: str
    folder: str
    revision: str | None
    content: str
    device: str
    precision: str
    threads: int
    batch_tokens: int | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run.

    Attributes:
        job: what is done.
        model: with which model.
        text_column: the column that holds the text (the prompt, the prefix).
        suffix_column: the column that holds the text after the gap; `infill` alone.
        limit: only the first rows; None: all.
        redact: replace the text column by the redacted text.
        where: keep only rows for which this holds; see `where.parse`.
        output_format: of the files written.
        options: fields of the library's options for the job.
        versions: of everything that decides values.
    """

    job: JobKind
    model: ModelPlan
    text_column: str
    suffix_column: str | None = None
    limit: int | None = None
    redact: bool = False
    where: str | None = None
    output_format: DataFormat = DataFormat.PARQUET
    options: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on where another one stopped."""
        values = asdict(self)
        for name in ("folder", "threads"):
            del values["model"][name]
        return values


@dataclass(frozen=True, kw_only=True)
class BlockSize:
    """Where a block ends: what one worker computes at a time, and computes again if it dies.

    Blocks must be cut alike by all runs on an output folder, so this is kept in the manifest.

    Attributes:
        rows: a block holds at most this many.
        bytes: and about as many bytes, before compression.
    """

    rows: int = _BLOCK_ROWS
    bytes: int = _BLOCK_BYTES

    def __post_init__(self) -> None:
        """Check what a manifest says."""
        if not (type(self.rows) is type(self.bytes) is int and min(self.rows, self.bytes) > 0):
            raise ValueError("sizes of blocks are whole numbers above 0")

    @classmethod
    def of(cls, data_bytes: int) -> "BlockSize":
        """The size for a data set: a driver keeps a few kilobytes for each block of a large one."""
        factor = max(data_bytes // (_BLOCK_BYTES * _MANY_BLOCKS), 1)
        return cls(rows=factor * _BLOCK_ROWS, bytes=factor * _BLOCK_BYTES)

    def rows_of(self, rows: int, size: int) -> int:
        """How many rows of about equal size make a block, where `rows` of them hold `size`."""
        return max(min(self.rows, self.bytes * rows // max(size, 1)), 1)


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file of the data set.

    Attributes:
        name: its path below the data set, which names the output too.
        path: where it is, as its file system says it.
        kind: parquet, jsonl or sources (a list of source files).
        compression: gzip or zstd; None: not compressed.
        size: in bytes.
        schema: the columns of JSON Lines, serialized; None: the file says them itself.
        members: the source files, for `sources`.
    """

    name: str
    path: str
    kind: str
    size: int
    compression: str | None = None
    schema: bytes | None = None
    members: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """A short name for the parts of its output."""
        from hashlib import blake2b  # opens OpenSSL, which help pages need not wait for

        return blake2b(self.name.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows that are computed together.

    Attributes:
        number: its place in the file.
        rows: how many.
        group: the row group of a Parquet file.
        start: the first row within that group; for JSON Lines the first byte.
    """

    number: int
    rows: int
    group: int = 0
    start: int = 0


@dataclass
class BlockStats:
    """What a computed block adds to progress and summary; kept beside its part."""

    rows: int = 0
    written: int = 0
    tokens: int = 0
    bytes: int = 0
    nll: float = 0.0
    failed: int = 0
    skipped: int = 0
    bits: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    spans: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    def merge(self, other: "BlockStats") -> None:
        """Add another block's counts."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(value, dict):
                for key, count in value.items():
                    mine[key] = mine.get(key, 0) + count
            else:
                setattr(self, name, mine + value)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "BlockStats":
        """Read what `to_json` wrote.

        Raises:
            ValueError, TypeError: it is something else.
        """
        found = cls(**parse_json(text.encode()))
        for usual, value in zip(vars(cls()).values(), vars(found).values(), strict=True):
            counts = value.values() if isinstance(usual, dict) else (value,)
            if not all(isinstance(count, (int, float)) for count in counts):
                raise TypeError("counts are numbers")
        return found


@dataclass(frozen=True, kw_only=True)
class Task:
    """A block to compute."""

    file: InputFile
    block: Block
    schema: bytes

    @property
    def name(self) -> str:
        """What the tracker calls it."""
        return f"{self.file.key}-{self.block.number}"

    def to_json(self) -> str:
        """One line."""
        file = asdict(self.file)
        file["schema"] = None if self.file.schema is None else self.file.schema.hex()
        values = {"file": file, "block": asdict(self.block), "schema": self.schema.hex()}
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """Read what `to_json` wrote."""
        values = json.loads(text)
        file = values["file"]
        file["schema"] = None if file["schema"] is None else bytes.fromhex(file["schema"])
        file["members"] = tuple(file["members"])
        schema = bytes.fromhex(values["schema"])
        return cls(file=InputFile(**file), block=Block(**values["block"]), schema=schema)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A block that was computed, or why it was not.

    Attributes:
        key: of the file.
        number: of the block.
        stats: what was counted.
        fault: why the file cannot be read, or the part not be written.
        slug: which of the two; see `BlockComputer.compute`.
    """

    key: str
    number: int
    stats: BlockStats
    fault: str | None = None
    slug: str = ""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """Read what `to_json` wrote."""
        values = json.loads(text)
        return cls(**values | {"stats": BlockStats(**values["stats"])})
