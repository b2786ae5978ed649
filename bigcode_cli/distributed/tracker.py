"""What the driver must know of blocks that workers have begun: progress, and who died where."""

from dataclasses import dataclass, field

from bigcode_cli.distributed.plan import Counts

FATAL_DEATHS = 3
"""A row that this many workers died on is marked and left out."""
_FAILED_LOADS = 3


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How a block is to be computed.

    Attributes:
        probe: first compute each row alone, without keeping the result, and say which one it is.
        alone: keep the results of rows that were computed alone: together they end workers.
        left_out: rows that ended workers.
    """

    probe: bool = False
    alone: bool = False
    left_out: frozenset[int] = frozenset()


@dataclass
class _Block:
    """A block that was begun, and not ended.

    Attributes:
        deaths: workers that died on it.
        row: the row that is computed alone now; None: rows are computed together.
        probed: every row was computed alone since the last death.
        alone: deaths at each row that was computed alone.
        together: deaths after the probe.
        left_out: see `Attempt`.
        counts: rows, tokens and failed rows so far.
    """

    deaths: int = -1
    row: int | None = None
    probed: bool = False
    alone: dict[int, int] = field(default_factory=dict)
    together: int = 0
    left_out: set[int] = field(default_factory=set)
    counts: Counts = (0, 0, 0)


class Tracker:
    """One actor for a run, on the driver's node.

    A worker that dies is usually the machine's fault, so its block is computed again. From then on
    rows are tried alone first: the row that two more workers die on is left out. The results that
    are kept are those of rows computed together, so a death changes no digit of them.
    """

    def __init__(self) -> None:
        self._blocks: dict[str, _Block] = {}
        self._loading = 0

    def loading(self, workers: int) -> bool:
        """A worker begins to load the model; whether too many of them died of it."""
        self._loading += 1
        return self._loading > _FAILED_LOADS * workers

    def loaded(self) -> None:
        """A worker is ready."""
        self._loading = 0

    def begin(self, name: str) -> Attempt:
        """A worker begins a block; if one did so before, it has died."""
        block = self._blocks.setdefault(name, _Block())
        block.deaths += 1
        if block.row is not None:
            block.alone[block.row] = block.alone.get(block.row, 0) + 1
            if block.alone[block.row] >= FATAL_DEATHS - 1:
                block.left_out.add(block.row)
        elif block.probed:
            block.together += 1
        block.row, block.probed, block.counts = None, False, (0, 0, 0)
        return Attempt(
            probe=block.deaths > 0,
            alone=block.together >= FATAL_DEATHS - 1,
            left_out=frozenset(block.left_out),
        )

    def at(self, name: str, row: int | None) -> None:
        """A worker is about to compute this row alone; None: all of them were."""
        block = self._blocks[name]
        block.row, block.probed = row, row is None

    def advance(self, name: str, counts: Counts) -> None:
        """Rows, tokens and failed rows of a block so far."""
        if name in self._blocks:
            self._blocks[name].counts = counts

    def end(self, name: str) -> None:
        """A block is done."""
        self._blocks.pop(name, None)

    def progress(self) -> Counts:
        """Rows, tokens and failed rows of the blocks that are being computed."""
        rows = tokens = failed = 0
        for block in self._blocks.values():
            rows += block.counts[0]
            tokens += block.counts[1]
            failed += block.counts[2]
        return rows, tokens, failed
