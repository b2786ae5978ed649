"""Runs a plan on Ray Data: blocks are handed to actors, which read, compute and write them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bigcode_cli.distributed.cluster import (
    Share,
    cause_of,
    innermost,
    model_folder,
    require_versions,
)
from bigcode_cli.distributed.inputs import open_filesystem
from bigcode_cli.distributed.output import Output
from bigcode_cli.distributed.plan import BlockStats, Counts, Plan, Result, Task
from bigcode_cli.distributed.tracker import Tracker
from bigcode_cli.distributed.worker import BlockComputer, Listener
from bigcode_cli.framework.errors import Failure
from gpt_bigcode.errors import GPTBigCodeError

_TRACKER = "bigcode-tracker"
_POLL_SECONDS = 30


class Worker:
    """The actor of Ray Data's `map_batches`: one block a call."""

    def __init__(self, plan: Plan, data: str, output: str, workers: int) -> None:
        self._tracker = ray.get_actor(_TRACKER)
        if ray.get(self._tracker.loading.remote(workers)):
            raise Failure("worker", "workers die while they load the model: not enough memory?")
        require_versions(plan)
        pa.set_memory_pool(pa.system_memory_pool())  # the default one keeps what was freed
        filesystem, root = open_filesystem(output)
        writer = Output(filesystem, root, plan.output_format)
        source = open_filesystem(data)[0]
        folder = model_folder(plan.model)
        self._computer = BlockComputer(_on_device(plan), source, writer, folder)
        ray.get(self._tracker.loaded.remote())

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Compute the blocks of a batch (one), and give their counts."""
        tasks = map(Task.from_json, batch["task"])
        return {"result": [self._compute(task).to_json() for task in tasks]}

    def _compute(self, task: Task) -> Result:
        attempt = ray.get(self._tracker.begin.remote(task.name))
        listener = Listener(at=partial(self._at, task.name), advance=partial(self._tell, task.name))
        schema = pa.ipc.read_schema(pa.py_buffer(task.schema))
        result = Result(key=task.file.key, number=task.block.number, stats=BlockStats())
        try:
            stats = self._computer.compute(
                task.file, task.block, schema, attempt=attempt, listener=listener
            )
            result = replace(result, stats=stats)
        except Failure as failure:
            result = replace(result, fault=str(failure), slug=failure.slug)
        ray.get(self._tracker.end.remote(task.name))
        return result

    def _at(self, name: str, row: int | None) -> None:
        ray.get(self._tracker.at.remote(name, row))

    def _tell(self, name: str, counts: Counts) -> None:
        self._tracker.advance.remote(name, counts)


def _on_device(plan: Plan) -> Plan:
    """CUDA only where Ray gives a GPU: without one, it would be shared by all workers."""
    if plan.model.device == "auto" and not ray.get_gpu_ids():
        return replace(plan, model=replace(plan.model, device="cpu"))
    return plan


@dataclass(frozen=True, kw_only=True)
class Run:
    """Computes blocks on the cluster that is connected.

    Attributes:
        plan: what is done.
        data: where the rows are, as an absolute path or URI.
        output: where results go, likewise.
        share: what each worker gets.
    """

    plan: Plan
    data: str
    output: str
    share: Share

    def execute(
        self, tasks: Sequence[Task], watch: Callable[[Callable[[], Counts]], Any]
    ) -> Iterator[Result]:
        """Compute blocks.

        Args:
            tasks: which ones.
            watch: given a function that says how far the unfinished blocks are; its result is a
                context manager.

        Yields:
            Results, as blocks are done.

        Raises:
            Failure: a worker cannot be started, or a block fails for another reason than its rows.
        """
        # The driver's node: it cannot be lost without the run.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"name": _TRACKER, "num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
        tracker = ray.remote(Tracker).options(**options, scheduling_strategy=here).remote()
        try:
            progress = partial(_poll, tracker)
            with watch(progress):
                for row in self._dataset(tasks).iter_rows():
                    result = Result.from_json(row["result"])
                    if result.fault is not None and result.slug != "input":
                        raise Failure(result.slug, result.fault)
                    yield result
        except ray.exceptions.RayError as error:
            raise _failure(error) from None
        finally:
            ray.kill(tracker)

    def _dataset(self, tasks: Sequence[Task]) -> Any:
        rows = [{"task": task.to_json()} for task in tasks]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        workers = min(self.share.workers, len(rows))
        plan = replace(self.plan, model=replace(self.plan.model, threads=self.share.threads))
        return dataset.map_batches(
            Worker,
            fn_constructor_args=(plan, self.data, self.output, workers),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=self.share.cpus,
            num_gpus=self.share.gpus or None,
            runtime_env=self.share.environment,
        )


def _poll(tracker: Any) -> Counts:
    counts: Counts = ray.get(tracker.progress.remote(), timeout=_POLL_SECONDS)
    return counts


def _failure(error: BaseException) -> Failure:
    """The cause of an error that Ray wrapped."""
    cause = innermost(error)
    if isinstance(cause, Failure):
        return cause
    slug = cause.slug if isinstance(cause, GPTBigCodeError) else "worker"
    return Failure(slug, cause_of(error))
