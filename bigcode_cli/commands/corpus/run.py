"""Runs a plan over a data set: what is done already, what is left, progress and summary."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.corpus.options import DataOptions
from bigcode_cli.commands.corpus.progress import RowProgress
from bigcode_cli.distributed.cluster import Resources, check_nodes, connected, share_of_nodes
from bigcode_cli.distributed.inputs import (
    find_files,
    is_within,
    open_filesystem,
    require_columns,
    resolved,
    split,
)
from bigcode_cli.distributed.output import Output
from bigcode_cli.distributed.plan import Block, BlockSize, BlockStats, InputFile, Plan, Task
from bigcode_cli.distributed.where import check
from bigcode_cli.distributed.worker import added_names, output_schema
from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.io.atomic_files import atomic_write, open_target

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs as pafs

_MAX_SUMMARY_BYTES = 64 << 20


@dataclass
class _Pending:
    """A file whose output is not complete.

    Attributes:
        file: the file.
        schema: of its output.
        blocks: all of its blocks.
        missing: numbers of those that are not computed yet.
    """

    file: InputFile
    schema: "pa.Schema"
    blocks: list[Block]
    missing: set[int] = field(default_factory=set)


class CorpusRun:
    """One run over a data set."""

    def __init__(self, plan: Plan, data: str, options: DataOptions, resources: Resources) -> None:
        self._plan, self._resources = plan, resources
        self._data, self._out = resolved(data), resolved(options.output)
        if is_within(self._out, self._data):
            raise UsageFailure(f"--output {options.output} is inside the data {data}")
        filesystem, root = open_filesystem(self._out)
        self._output = Output(filesystem, root, plan.output_format)
        self._total = BlockStats()
        self._faults: dict[str, str] = {}

    def execute(self, progress: RowProgress) -> BlockStats:
        """Compute what is missing.

        Returns:
            The counts of the whole data set, parts of earlier runs included.

        Raises:
            Failure: the output folder, a worker or the cluster fails, or files cannot be read; all
                others are complete then.
        """
        source, files = find_files(self._data)
        size = self._output.prepare(self._plan, files)
        pending = self._limited(list(self._split(source, files, size)))
        if not pending and self._faults:
            raise self._unreadable()
        self._output.begin(self._plan, files, size)
        progress.begin(sum(block.rows for one in pending for block in one.blocks))
        left = [one for one in pending if not self._finished(one, progress)]
        if left or self._faults:
            self._output.reopen()
        tasks = list(self._tasks(left))
        for one in left:
            self._join_if_whole(one)
        if tasks:
            try:
                self._compute(tasks, {one.file.key: one for one in left}, progress)
            except Failure:
                self._output.drop_partials()  # of the workers that ended with the run
                raise
        if self._faults:
            raise self._unreadable()
        self._output.succeed()
        return self._total

    def _split(
        self, source: "pafs.FileSystem", files: Sequence[InputFile], size: BlockSize
    ) -> Iterator[_Pending]:
        for file in files:
            try:
                blocks, schema, learned = split(source, file, size)
            except Failure as failure:
                self._faults[file.key] = str(failure)
                continue
            needed = [self._plan.text_column]
            needed += [self._plan.suffix_column] if self._plan.suffix_column else []
            if blocks or schema.names:  # JSON Lines without a line have no columns
                require_columns(file.name, schema, needed, added_names(self._plan.job))
            wide = output_schema(self._plan, schema)
            if self._plan.where is not None and blocks:
                check(self._plan.where, file.name, wide)
            yield _Pending(learned, wide, blocks)

    def _limited(self, pending: list[_Pending]) -> list[_Pending]:
        """Only the first rows, if a limit was given."""
        left = self._plan.limit
        if left is None:
            return pending
        kept = []
        for one in pending:
            sizes = [0, *accumulate(block.rows for block in one.blocks)]
            blocks = [
                replace(block, rows=min(block.rows, left - before))
                for block, before in zip(one.blocks, sizes, strict=False)
                if before < left
            ]
            left -= min(left, sizes[-1])
            if blocks:
                kept.append(replace(one, blocks=blocks))
        return kept

    def _finished(self, one: _Pending, progress: RowProgress) -> bool:
        """Count what earlier runs did; whether nothing of the file is left."""
        if self._output.is_done(one.file):
            self._count(self._output.file_stats(one.file), progress)
            return True
        done = self._output.parts(one.file)
        for block in one.blocks:
            if block.number in done:
                self._count(done[block.number], progress)
            else:
                one.missing.add(block.number)
        return False

    def _tasks(self, pending: Sequence[_Pending]) -> Iterator[Task]:
        for one in pending:
            schema = one.schema.serialize().to_pybytes()
            for block in one.blocks:
                if block.number in one.missing:
                    yield _task(one.file, block, schema)

    def _compute(
        self, tasks: Sequence[Task], pending: dict[str, _Pending], progress: RowProgress
    ) -> None:
        with connected(self._resources) as nodes:
            from bigcode_cli.distributed.engine import Run

            share = share_of_nodes(self._resources)
            if self._resources.address is not None:
                check_nodes(nodes, self._plan, (self._data, self._out))
            run = Run(plan=self._plan, data=self._data, output=self._out, share=share)
            for result in run.execute(tasks, progress.watch):
                if result.fault is not None:
                    self._faults[result.key] = result.fault
                    continue
                self._count(result.stats, progress)
                pending[result.key].missing.discard(result.number)
                self._join_if_whole(pending[result.key])

    def _join_if_whole(self, one: _Pending) -> None:
        if not one.missing:
            self._output.join(one.file, one.blocks, one.schema)

    def _count(self, stats: BlockStats, progress: RowProgress) -> None:
        self._total.merge(stats)
        progress.advance(stats.rows, stats.tokens, stats.failed)

    def _unreadable(self) -> Failure:
        """The error for files that cannot be read; the results of the others are there."""
        first, *others = self._faults.values()
        more = f" (and {len(others)} more files)" if others else ""
        return Failure("input", first + more)


def _task(file: InputFile, block: Block, schema: bytes) -> Task:
    """A block to compute; of a list of source files, only its own: the list may be long."""
    if file.members:
        file = replace(file, members=file.members[block.start : block.start + block.rows])
        block = replace(block, start=0)
    return Task(file=file, block=block, schema=schema)


def write_summary(path: Path, plan: Plan, total: BlockStats, seconds: float) -> None:
    """Write counts and histograms.

    Raises:
        Failure: it cannot be written.
    """
    from math import log

    document: dict[str, Any] = {"job": plan.job.value, "model": plan.model.name, **asdict(total)}
    bits = total.nll / (total.bytes * log(2)) if total.bytes and total.nll else None
    document |= {"bits_per_byte": bits, "seconds": round(seconds, 3)}
    data = (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
    atomic_write(summary_target(path), data)


def summary_target(path: Path) -> Any:
    """The file of --summary; checked before the work begins, too.

    Raises:
        Failure: it cannot be written.
    """
    return open_target(
        path, option="--summary", slug="output", max_bytes=_MAX_SUMMARY_BYTES, create=True
    )
