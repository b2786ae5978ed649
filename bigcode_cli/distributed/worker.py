"""One worker: loads the model once, then computes blocks and writes their parts."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from bigcode_cli.distributed import where
from bigcode_cli.distributed.blocks import BlockReader, Rows
from bigcode_cli.distributed.jobs import FIELDS, STATUS_FIELDS, Document, Documents, Row, load
from bigcode_cli.distributed.output import Output
from bigcode_cli.distributed.plan import Block, BlockStats, Counts, InputFile, JobKind, Plan
from bigcode_cli.distributed.tracker import FATAL_DEATHS, Attempt
from bigcode_cli.framework.errors import Failure
from gpt_bigcode.errors import GPTBigCodeError, MemoryLimitError, NonFiniteError

_MAX_TEXT_BYTES = 1 << 30
_REPORT_SECONDS = 0.5
_ROW_ERRORS = (GPTBigCodeError, ValueError, OverflowError)
_MODEL_ERRORS = (MemoryLimitError, NonFiniteError)


def _nothing(_: Any) -> None:
    """Report nothing."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who is told how far a block is.

    Attributes:
        at: told the number of a row before it is computed alone, and None after all of them.
        advance: told rows, tokens and failed rows, from time to time.
    """

    at: Callable[[int | None], None] = _nothing
    advance: Callable[[Counts], None] = _nothing


class BlockComputer:
    """Computes blocks with a loaded model."""

    def __init__(
        self, plan: Plan, source: pafs.FileSystem, output: Output, folder: Path | None = None
    ) -> None:
        self._plan, self._output = plan, output
        self._reader = BlockReader(source)
        self._job: Documents = load(plan, folder or Path(plan.model.folder))
        self._where = where.parse(plan.where)[0] if plan.where else None

    def compute(
        self,
        file: InputFile,
        block: Block,
        schema: pa.Schema,
        *,
        attempt: Attempt | None = None,
        listener: Listener | None = None,
    ) -> BlockStats:
        """Compute one block and write its part.

        Args:
            file: where the rows are.
            block: which rows.
            schema: of the output.
            attempt: how, if workers died on the block before.
            listener: who is told how far it is.

        Raises:
            Failure: `input`: the file is damaged; `output`: the part cannot be written.
            GPTBigCodeError: the model fails, whatever the row.
        """
        attempt, listener = attempt or Attempt(), listener or Listener()
        if attempt.probe and not attempt.alone:
            probe = replace(attempt, alone=True)
            for _ in self._batches(file, block, BlockStats(), probe, listener):
                pass
        stats = BlockStats()
        tables = self._tables(self._batches(file, block, stats, attempt, listener), stats)
        self._output.write_part(file, block, schema, (table.cast(schema) for table in tables))
        self._output.finish_part(file, block, stats)
        return stats

    def _batches(
        self,
        file: InputFile,
        block: Block,
        stats: BlockStats,
        attempt: Attempt,
        listener: Listener,
    ) -> Iterator["_Batch"]:
        """Batches of rows with their results, in order."""
        waiting: deque[_Batch] = deque()
        documents = self._documents(file, block, attempt, waiting)
        if attempt.alone:
            outcomes = self._alone(documents, waiting, stats, listener)
        else:
            outcomes = iter(self._job(documents, stats))
        told = monotonic()
        for count, outcome in enumerate(outcomes, 1):
            while not waiting[0].missing:
                yield waiting.popleft()
            waiting[0].add(outcome)
            if monotonic() - told >= _REPORT_SECONDS:
                told = monotonic()
                listener.advance((count, stats.tokens, stats.failed))
        if attempt.alone:
            listener.at(None)
        yield from waiting

    def _alone(
        self,
        documents: Iterator[Document],
        waiting: "deque[_Batch]",
        stats: BlockStats,
        listener: Listener,
    ) -> Iterator[Row | Exception]:
        for document in documents:
            listener.at(waiting[-1].number)
            yield from self._job([document], stats)

    def _documents(
        self, file: InputFile, block: Block, attempt: Attempt, waiting: "deque[_Batch]"
    ) -> Iterator[Document]:
        """The documents of a block, as they are asked for; their batches are put in line."""
        first = 0
        for rows in self._reader.read(file, block):
            batch = _Batch(self._plan, rows, first, attempt.left_out)
            first += rows.table.num_rows
            waiting.append(batch)
            yield from batch.documents()

    def _tables(self, batches: Iterator["_Batch"], stats: BlockStats) -> Iterator[pa.Table]:
        for batch in batches:
            stats.rows += len(batch.results)
            _count(batch.results, stats)
            full = batch.full()
            kept = full if self._where is None else where.select(full, self._where)
            stats.written += kept.num_rows
            yield kept


@dataclass
class _Batch:
    """Some rows of a block, and what was computed of them.

    Attributes:
        plan: what is done.
        rows: the rows.
        first: the number in the block of the first of them.
        left_out: numbers of rows that ended workers.
        number: of the row whose document was given last.
        results: one for each row; empty until it is known.
        pending: places of rows whose documents were given and have no result yet.
        given: whether all documents were given.
    """

    plan: Plan
    rows: Rows
    first: int
    left_out: frozenset[int]
    number: int = 0
    results: list[Row] = field(default_factory=list)
    pending: deque[int] = field(default_factory=deque)
    given: bool = False

    def __post_init__(self) -> None:
        self.results = [{} for _ in range(self.rows.table.num_rows)]

    @property
    def missing(self) -> bool:
        """Whether results are to come."""
        return not self.given or bool(self.pending)

    def documents(self) -> Iterator[Document]:
        """The documents that can be computed, one after the other; the others get a status."""
        names = [name for name in (self.plan.text_column, self.plan.suffix_column) if name]
        columns = [_bytes(self.rows.table.column(name)) for name in names]
        for place in range(len(self.results)):
            found = self._document(place, columns)
            if isinstance(found, dict):
                self.results[place] = found
                continue
            self.number = self.first + place
            self.pending.append(place)
            yield found
        self.given = True

    def _document(self, place: int, columns: Sequence[pa.ChunkedArray]) -> Document | Row:
        if self.first + place in self.left_out:
            return _marked("error", f"ended {FATAL_DEATHS} workers")
        if place in self.rows.faults:
            return _marked("error", self.rows.faults[place])
        any_encoding = self.plan.job is JobKind.TAG
        sides = [_text(column[place].as_py(), any_encoding=any_encoding) for column in columns]
        faulty = next((side for side in sides if isinstance(side, dict)), None)
        if faulty is not None:
            return faulty
        return Document(*sides)

    def add(self, outcome: Row | Exception) -> None:
        """Take the result of the next document."""
        place = self.pending.popleft()
        if not isinstance(outcome, Exception):
            self.results[place] = {**outcome, "status": "ok", "reason": None}
        elif isinstance(outcome, Failure):  # binary, found while another encoding was read
            self.results[place] = _marked("skipped", str(outcome))
        elif isinstance(outcome, _ROW_ERRORS) and not isinstance(outcome, _MODEL_ERRORS):
            self.results[place] = _marked("error", str(outcome)[:300])
        else:
            raise outcome

    def full(self) -> pa.Table:
        """The rows with the columns of the job."""
        table = self._redacted() if self.plan.redact else self.rows.table
        for column in (*FIELDS[self.plan.job], *STATUS_FIELDS):
            values = pa.array([row.get(column.name) for row in self.results], column.type)
            table = table.append_column(column, values)
        return table

    def _redacted(self) -> pa.Table:
        """Replace the text column; a row that could not be searched keeps no text."""
        table = self.rows.table
        place = table.schema.get_field_index(self.plan.text_column)
        column = table.schema.field(place)
        values = pa.array([row.get("redacted") for row in self.results], pa.large_binary())
        return table.set_column(place, redacted_field(column), _cast(values, column.type))


def output_schema(plan: Plan, schema: pa.Schema) -> pa.Schema:
    """The columns of the output: those of the input, then the job's, status and reason."""
    place = schema.get_field_index(plan.text_column) if plan.redact else -1
    if place >= 0:
        schema = schema.set(place, redacted_field(schema.field(place)))
    for column in (*FIELDS[plan.job], *STATUS_FIELDS):
        schema = schema.append(column)
    return schema


def redacted_field(column: pa.Field) -> pa.Field:
    """The text column after redaction: rows that could not be searched are null."""
    return column.with_nullable(True)  # pyarrow takes it by position


def added_names(job: JobKind) -> list[str]:
    """The columns that a job adds."""
    return [column.name for column in (*FIELDS[job], *STATUS_FIELDS)]


def _bytes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of texts as bytes, of any size."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.cast(column, pa.large_binary())


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return values.cast(kind.value_type).dictionary_encode().cast(kind)
    return values.cast(kind)


def _text(data: bytes | None, *, any_encoding: bool) -> str | bytes | Row:
    """The text of a row, its bytes if they are of another encoding, or its status."""
    if data is None:
        return _marked("error", "null")
    if len(data) > _MAX_TEXT_BYTES:
        return _marked("error", "longer than 1 GiB")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        if any_encoding:
            return data
        byte = data[error.start]
        return _marked("skipped", f"byte 0x{byte:02x} at offset {error.start} is not UTF-8")
    if (place := data.find(0)) >= 0:
        return _marked("skipped", f"NUL byte at offset {place}: a binary file")
    return text


def _marked(status: str, reason: str) -> Row:
    return {"status": status, "reason": reason}


def _count(rows: Sequence[Row], stats: BlockStats) -> None:
    for row in rows:
        if row["status"] == "ok":
            continue
        stats.failed += row["status"] == "error"
        stats.skipped += row["status"] == "skipped"
        reason = str(row["reason"]).split(" at offset")[0]
        stats.reasons[reason] = stats.reasons.get(reason, 0) + 1
