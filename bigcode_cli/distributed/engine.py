"""Runs a plan on Ray Data: blocks are handed to actors, which read, compute and write them."""

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from bigcode_cli import __version__
from bigcode_cli.distributed.inputs import open_filesystem
from bigcode_cli.distributed.output import Output
from bigcode_cli.distributed.plan import Block, BlockStats, DataFormat, InputFile, Plan
from bigcode_cli.distributed.worker import FATAL_DEATHS, BlockComputer
from bigcode_cli.framework.errors import Failure

_ACTOR = "bigcode-deaths"
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_LOCAL = "127.0.0.1"
_STDOUT, _STDERR = 1, 2


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Where and how wide a run is.

    Attributes:
        address: of a Ray cluster; None: this machine alone, for this run.
        workers: how many actors; None: one for each processor.
        gpus_per_worker: may be a fraction.
    """

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Task:
    """A block with all that a worker needs to know of it."""

    data: str
    output: str
    plan: Plan
    file: InputFile
    block: Block
    schema: bytes


def versions() -> dict[str, str]:
    """Versions of what decides values; all nodes must have the same ones."""
    names = ("torch", "numpy", "tokenizers", "pyarrow")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"bigcode": __version__, "python": platform.python_version()[:4], **found}


class Deaths:
    """Remembers which rows workers were at when they died; one actor on the driver's node."""

    def __init__(self) -> None:
        self._begun: dict[str, int] = {}
        self._at: dict[str, int] = {}
        self._fatal: dict[str, list[int]] = {}

    def begin(self, block: str) -> tuple[int, list[int]]:
        """Count an attempt at a block.

        Returns:
            How many attempts died before, and the rows to leave out.
        """
        deaths = self._begun.get(block, 0)
        self._begun[block] = deaths + 1
        row = self._at.pop(block, None)
        if row is not None and deaths >= FATAL_DEATHS:
            self._fatal.setdefault(block, []).append(row)
            self._begun[block] = 1
            deaths = 0
        return deaths, self._fatal.get(block, [])

    def at(self, block: str, row: int) -> None:
        """A worker is about to compute this row alone."""
        self._at[block] = row

    def end(self, block: str) -> None:
        """A block is done."""
        for kept in (self._begun, self._at, self._fatal):
            kept.pop(block, None)


class Worker:
    """The actor of Ray Data's `map_batches`: one block a call."""

    def __init__(self, plan: str, data: str, output: str) -> None:
        self._plan = read_plan(plan)
        _require_versions(self._plan)
        self._source = open_filesystem(data)[0]
        filesystem, root = open_filesystem(output)
        self._output = Output(filesystem, root, self._plan.output_format)
        folder = _model_folder(self._plan)
        self._computer = BlockComputer(self._plan, self._source, self._output, folder)
        self._deaths = ray.get_actor(_ACTOR)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Compute the blocks of a batch (one), and give their counts."""
        return {"stats": [self._compute(json.loads(text)) for text in batch["task"]]}

    def _compute(self, task: dict[str, Any]) -> str:
        file = InputFile(**_restored(task["file"]))
        block = Block(**task["block"])
        schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(task["schema"])))
        name = f"{file.key}-{block.number}"
        deaths, fatal = ray.get(self._deaths.begin.remote(name))
        # A single death is usually the machine's; after two the row that does it is looked for.
        alone = deaths >= FATAL_DEATHS - 1

        def begin(row: int) -> None:
            ray.get(self._deaths.at.remote(name, row))

        stats = self._computer.compute(
            file, block, schema, skipped=frozenset(fatal), begin=begin if alone else None
        )
        ray.get(self._deaths.end.remote(name))
        return json.dumps({"file": file.key, "block": block.number, "stats": stats.to_json()})


def read_plan(text: str) -> Plan:
    """A plan from JSON."""
    from bigcode_cli.distributed.plan import JobKind, ModelPlan

    values = json.loads(text)
    values["model"] = ModelPlan(**values["model"])
    values["job"], values["output_format"] = (
        JobKind(values["job"]),
        DataFormat(values["output_format"]),
    )
    return Plan(**values)


@contextmanager
def connected(resources: Resources) -> Iterator[int]:
    """Start or join Ray; give the number of workers to use.

    Raises:
        Failure: the cluster is not there.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
    with _own_stderr():
        yield from _connected(resources)


def _connected(resources: Resources) -> Iterator[int]:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if resources.address is None:
            ray.init(include_dashboard=False, _node_ip_address=_LOCAL, **quiet)
        else:
            ray.init(address=resources.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise Failure("cluster", f"Ray cannot be reached: {reason}") from None
    try:
        _quiet_data()
        cpus = int(ray.cluster_resources().get("CPU", 1))
        yield resources.workers or max(cpus, 1)
    finally:
        ray.shutdown()


@contextmanager
def _own_stderr() -> Iterator[None]:
    """Keep stderr for the program, and stdout empty: Ray writes to both, from C++ threads too."""
    shown = sys.stderr
    sys.stdout.flush()
    shown.flush()
    out, err, nowhere = os.dup(_STDOUT), os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.dup2(nowhere, _STDERR)
    try:
        with open(err, "w", encoding="utf-8", errors="backslashreplace", closefd=False) as stream:
            sys.stderr = stream
            yield
    finally:
        sys.stderr = shown
        sys.stdout.flush()
        os.dup2(out, _STDOUT)
        os.dup2(err, _STDERR)
        for number in (out, err, nowhere):
            os.close(number)


def run(
    tasks: Sequence[Task], resources: Resources, workers: int
) -> Iterator[tuple[str, int, BlockStats]]:
    """Compute blocks.

    Yields:
        The key of the file, the number of the block and its counts, as blocks are done.

    Raises:
        Failure: a worker cannot be started, or a block fails for another reason than its rows.
    """
    if not tasks:
        return
    first = tasks[0]
    deaths = ray.remote(Deaths).options(name=_ACTOR, num_cpus=0).remote()
    ray.get(deaths.begin.remote(""))
    rows = [{"task": _serialized(task)} for task in tasks]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    workers = min(workers, len(rows))
    # Actors leave some of a processor to Ray's own tasks, or one on a single core would wait.
    dataset = dataset.map_batches(
        Worker,
        fn_constructor_args=(_plan_json(first.plan), first.data, first.output),
        batch_size=1,
        concurrency=workers,
        num_cpus=0.5,
        num_gpus=resources.gpus_per_worker or None,
    )
    try:
        for row in dataset.iter_rows():
            done = json.loads(row["stats"])
            yield done["file"], done["block"], BlockStats.from_json(done["stats"])
    except ray.exceptions.RayError as error:
        raise _failure(error) from None
    finally:
        ray.kill(deaths)


def _failure(error: BaseException) -> Failure:
    """The cause of an error that Ray wrapped, in one line."""
    cause: BaseException = error
    while True:
        inner = getattr(cause, "cause", None) or cause.__cause__
        if inner is None or inner is cause:
            break
        cause = inner
    if isinstance(cause, Failure):
        return cause
    lines = [line for line in str(cause).strip().splitlines() if line.strip()]
    text = lines[-1].strip()[:300] if lines else type(cause).__name__
    slug = getattr(cause, "slug", None) or ("output" if isinstance(cause, OSError) else "worker")
    return Failure(str(slug), text)


def _serialized(task: Task) -> str:
    file = asdict(task.file)
    file["schema"] = None if task.file.schema is None else task.file.schema.hex()
    values = {"file": file, "block": asdict(task.block), "schema": task.schema.hex()}
    return json.dumps(values)


def _restored(file: dict[str, Any]) -> dict[str, Any]:
    schema = file["schema"]
    return {
        **file,
        "schema": None if schema is None else bytes.fromhex(schema),
        "members": tuple(file["members"]),
    }


def _plan_json(plan: Plan) -> str:
    return json.dumps(asdict(plan))


def _require_versions(plan: Plan) -> None:
    here = versions()
    for name, wanted in plan.versions.items():
        if here.get(name) != wanted:
            node = platform.node()
            raise Failure("cluster", f"node {node} has {name} {here.get(name)}, not {wanted}")


def _model_folder(plan: Plan) -> Path:
    """The model on this node: in the same place, or by its name."""
    folder = Path(plan.model.folder)
    if (folder / "config.json").is_file():
        return folder
    from bigcode_cli.models.resolve import find_model

    return find_model(plan.model.name).directory


def _quiet_data() -> None:
    import logging

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = 0
    logging.getLogger("ray.data").setLevel(logging.ERROR)
