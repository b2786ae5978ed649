"""Runs a plan over a data set: what is done already, what is left, progress and summary."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.corpus.options import DataOptions
from bigcode_cli.commands.corpus.progress import RowProgress
from bigcode_cli.distributed.engine import Resources, Task, connected, run
from bigcode_cli.distributed.inputs import find_files, open_filesystem, require_columns, split
from bigcode_cli.distributed.output import Output
from bigcode_cli.distributed.plan import Block, BlockStats, InputFile, Plan
from bigcode_cli.distributed.where import parse
from bigcode_cli.distributed.worker import added_names, output_schema
from bigcode_cli.framework.errors import Failure, UsageFailure

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs as pafs


@dataclass
class _Pending:
    """A file whose output is not complete."""

    file: InputFile
    schema: "pa.Schema"
    blocks: list[Block]
    missing: set[int] = field(default_factory=set)


class CorpusRun:
    """One run over a data set."""

    def __init__(self, plan: Plan, data: str, options: DataOptions, resources: Resources) -> None:
        self._plan, self._data, self._options, self._resources = plan, data, options, resources
        filesystem, root = open_filesystem(options.output)
        self._output = Output(filesystem, root, plan.output_format)
        self._total = BlockStats()

    def execute(self, progress: RowProgress) -> BlockStats:
        """Compute what is missing.

        Returns:
            The counts of the whole data set, parts of earlier runs included.

        Raises:
            Failure: the data, the output folder, a worker or the cluster fails.
        """
        source, files = find_files(self._data)
        pending = self._limited([self._split(source, file) for file in files])
        self._output.prepare(self._plan, [one.file for one in pending])
        progress.begin(sum(block.rows for one in pending for block in one.blocks))
        left = [one for one in pending if not self._finished(one, progress)]
        tasks = list(self._tasks(left))
        for one in left:
            self._join_if_whole(one)
        if tasks:
            self._compute(tasks, {one.file.key: one for one in left}, progress)
        self._output.succeed()
        return self._total

    def _split(self, source: "pafs.FileSystem", file: InputFile) -> _Pending:
        blocks, schema, learned = split(source, file)
        needed = [self._plan.text_column]
        needed += [self._plan.suffix_column] if self._plan.suffix_column else []
        require_columns(schema, needed, added_names(self._plan.job))
        wide = output_schema(self._plan, schema)
        if self._plan.where is not None:
            unknown = sorted(parse(self._plan.where)[1] - set(wide.names))
            if unknown:
                raise UsageFailure(f"--where: {file.name} has no column {unknown[0]!r}")
        return _Pending(learned, wide, blocks)

    def _limited(self, pending: Sequence[_Pending]) -> list[_Pending]:
        """Only the first rows, if a limit was given."""
        left = self._options.limit
        if left is None:
            return list(pending)
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
        for block in one.blocks:
            stats = self._output.part_stats(one.file, block)
            if stats is None:
                one.missing.add(block.number)
            else:
                self._count(stats, progress)
        return False

    def _tasks(self, pending: Sequence[_Pending]) -> Iterator[Task]:
        for one in pending:
            schema = one.schema.serialize().to_pybytes()
            for block in one.blocks:
                if block.number in one.missing:
                    yield Task(
                        data=self._data,
                        output=self._options.output,
                        plan=self._plan,
                        file=_members_of(one.file, block),
                        block=block if not one.file.members else replace(block, start=0),
                        schema=schema,
                    )

    def _compute(
        self, tasks: Sequence[Task], pending: dict[str, _Pending], progress: RowProgress
    ) -> None:
        with connected(self._resources) as workers:
            for key, number, stats in run(tasks, self._resources, workers):
                self._count(stats, progress)
                pending[key].missing.discard(number)
                self._join_if_whole(pending[key])

    def _join_if_whole(self, one: _Pending) -> None:
        if not one.missing:
            try:
                self._output.join(one.file, one.blocks, one.schema)
            except OSError as error:
                raise Failure("output", str(error).splitlines()[0]) from None

    def _count(self, stats: BlockStats, progress: RowProgress) -> None:
        self._total.merge(stats)
        progress.advance(stats.rows, stats.tokens, stats.failed)


def _members_of(file: InputFile, block: Block) -> InputFile:
    """The file with the names of this block alone: a long list need not go to every worker."""
    if not file.members:
        return file
    return replace(file, members=file.members[block.start : block.start + block.rows])


def write_summary(path: Path, plan: Plan, total: BlockStats, seconds: float) -> None:
    """Write counts and histograms.

    Raises:
        Failure: it cannot be written.
    """
    from math import log

    document: dict[str, Any] = {"job": plan.job.value, "model": plan.model.name, **asdict(total)}
    bits = total.nll / (total.bytes * log(2)) if total.bytes and total.nll else None
    document |= {"bits_per_byte": bits, "seconds": round(seconds, 3)}
    try:
        path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", "utf-8")
    except OSError as error:
        raise Failure("output", f"{path}: {error.strerror}") from None
