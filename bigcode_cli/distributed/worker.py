"""One worker: loads the model once, then computes blocks and writes their parts."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from bigcode_cli.distributed import where
from bigcode_cli.distributed.inputs import read_block
from bigcode_cli.distributed.jobs import FIELDS, STATUS_FIELDS, Documents, Row, load
from bigcode_cli.distributed.output import Output
from bigcode_cli.distributed.plan import Block, BlockStats, InputFile, JobKind, Plan
from gpt_bigcode.errors import GPTBigCodeError

FATAL_DEATHS = 3
"""So many workers may die on a row before it is marked and left out."""
_MAX_TEXT_BYTES = 1 << 30
_ROW_ERRORS = (GPTBigCodeError, ValueError, OverflowError)


class BlockComputer:
    """Computes blocks with a loaded model; knows nothing of how they are handed out."""

    def __init__(
        self, plan: Plan, source: pafs.FileSystem, output: Output, folder: Path | None = None
    ) -> None:
        self._plan, self._source, self._output = plan, source, output
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(plan.model.threads))
        self._job: Documents = load(plan, folder or Path(plan.model.folder))
        self._where = where.parse(plan.where)[0] if plan.where else None

    def compute(
        self,
        file: InputFile,
        block: Block,
        schema: pa.Schema,
        *,
        skipped: frozenset[int] = frozenset(),
        begin: Any = None,
    ) -> BlockStats:
        """Compute one block and write its part.

        Args:
            file: where the rows are.
            block: which rows.
            schema: of the output.
            skipped: rows that killed workers; they are marked as errors.
            begin: told the number of each row before it is computed alone; None: rows are
                computed together.
        """
        stats = BlockStats()
        tables = self._tables(file, block, stats, skipped, begin)
        self._output.write_part(file, block, schema, (table.cast(schema) for table in tables))
        self._output.finish_part(file, block, stats)
        return stats

    def _tables(
        self,
        file: InputFile,
        block: Block,
        stats: BlockStats,
        skipped: frozenset[int],
        begin: Any,
    ) -> Iterator[pa.Table]:
        first = 0
        for table in read_block(self._source, file, block):
            numbers = range(first, first + table.num_rows)
            results = self._results(table, numbers, stats, skipped, begin)
            stats.rows += table.num_rows
            first += table.num_rows
            full = self._with_columns(table, results)
            kept = full if self._where is None else where.select(full, self._where)
            stats.written += kept.num_rows
            yield kept

    def _results(
        self,
        table: pa.Table,
        numbers: range,
        stats: BlockStats,
        skipped: frozenset[int],
        begin: Any,
    ) -> list[Row]:
        """One row of values for each row of the table, status and reason among them."""
        documents = self._documents(table)
        found: list[Row] = [{} for _ in documents]
        ready: list[tuple[int, Any]] = []
        for place, (number, document) in enumerate(zip(numbers, documents, strict=True)):
            if number in skipped:
                found[place] = _marked("error", f"ended {FATAL_DEATHS} workers")
            elif isinstance(document, dict):
                found[place] = document
            else:
                ready.append((place, document))
        groups = [ready] if begin is None else [[item] for item in ready]
        for group in groups:
            if begin is not None:
                begin(numbers[group[0][0]])
            outcomes = self._job([document for _, document in group], stats)
            for (place, _), outcome in zip(group, outcomes, strict=True):
                found[place] = _row(outcome)
        _count(found, stats)
        return found

    def _documents(self, table: pa.Table) -> list[Any]:
        """A text for each row (with the suffix for `infill`), or the status of one without."""
        texts = _texts(table.column(self._plan.text_column))
        if self._plan.suffix_column is None:
            return texts
        suffixes = _texts(table.column(self._plan.suffix_column))
        return [
            next((side for side in pair if isinstance(side, dict)), pair)
            for pair in zip(texts, suffixes, strict=True)
        ]

    def _with_columns(self, table: pa.Table, results: Sequence[Row]) -> pa.Table:
        if self._plan.redact:
            table = self._redacted(table, results)
        for field in (*FIELDS[self._plan.job], *STATUS_FIELDS):
            values = pa.array([row.get(field.name) for row in results], field.type)
            table = table.append_column(field, values)
        return table

    def _redacted(self, table: pa.Table, results: Sequence[Row]) -> pa.Table:
        """Replace the text column; a row that could not be searched keeps no text."""
        place = table.schema.get_field_index(self._plan.text_column)
        field = table.schema.field(place)
        values = pa.array([row.get("text") for row in results], pa.string())
        return table.set_column(place, field, values.cast(field.type))


def output_schema(plan: Plan, schema: pa.Schema) -> pa.Schema:
    """The columns of the output: those of the input, then the job's, status and reason."""
    for field in (*FIELDS[plan.job], *STATUS_FIELDS):
        schema = schema.append(field)
    return schema


def added_names(job: JobKind) -> list[str]:
    """The columns that a job adds."""
    return [field.name for field in (*FIELDS[job], *STATUS_FIELDS)]


def _texts(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    column = column.cast(kind) if kind != column.type else column
    if not pa.types.is_binary(kind) and not pa.types.is_large_binary(kind):
        column = pc.cast(column, pa.large_binary())
    return [_text(value) for value in column.to_pylist()]


def _text(data: bytes | None) -> Any:
    if data is None:
        return _marked("error", "null")
    if len(data) > _MAX_TEXT_BYTES:
        return _marked("error", "longer than 1 GiB")
    if (place := data.find(0)) >= 0:
        return _marked("skipped", f"NUL byte at offset {place}: not a text")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        byte = data[error.start]
        return _marked("skipped", f"byte 0x{byte:02x} at offset {error.start} is not UTF-8")


def _row(outcome: Row | Exception) -> Row:
    if not isinstance(outcome, Exception):
        return {**outcome, "status": "ok", "reason": None}
    if not isinstance(outcome, _ROW_ERRORS):
        raise outcome
    return _marked("error", str(outcome)[:300])


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
