"""Starts or joins Ray, keeps it quiet, and checks that every node can do the work."""

import importlib.metadata
import logging
import os
import platform
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bigcode_cli import __version__
from bigcode_cli.distributed.plan import ModelPlan, Plan
from bigcode_cli.framework.errors import Failure, UsageFailure

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_LOOPBACK = "127.0.0.1"
_LOOPBACK_HOSTS = ("127.", "localhost:")
# Ray takes a loopback address for that of the network interface, and listens on all of them, unless
# it is told that it runs on one machine.
_LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# Ray's processes import NumPy before the model is loaded. Threads of its BLAS wait for each other
# by spinning, which on a busy machine takes ten times as long; see `models.load`.
_THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_OBJECT_STORE_BYTES = 128 << 20
_CHECK_SECONDS = 600
_STARTS = 3
_CONNECT_SECONDS = 15
_HASHED_AT_ONCE = 1 << 22
_STDOUT, _STDERR = 1, 2
_SHOWN_FAULTS = 3


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Where and how wide a run is.

    Attributes:
        address: of a Ray cluster; None: this machine alone, for this run.
        workers: how many actors; None: one for each processor.
        threads: of each worker; None: the processors are shared out.
        gpus_per_worker: may be a fraction.
    """

    address: str | None = None
    workers: int | None = None
    threads: int | None = None
    gpus_per_worker: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Share:
    """What each worker gets.

    Attributes:
        workers: how many there are.
        threads: of each.
        cpus: what Ray reserves for each.
        gpus: likewise.
        environment: what Ray is to start workers with; None: they have it from the driver.
    """

    workers: int
    threads: int
    cpus: float
    gpus: float
    environment: dict[str, Any] | None = None


def share_out(cpus: Sequence[float], resources: Resources) -> Share:
    """Share out the processors of the nodes: as many threads for each worker as all can have.

    Args:
        cpus: of each node.
        resources: what was asked for.
    """
    workers = resources.workers or max(int(sum(cpus)), 1)
    most = max(int(max(cpus, default=1)), 1)
    fitting = (
        threads
        for threads in range(most, 0, -1)
        if sum(int(count) // threads for count in cpus) >= workers
    )
    reserved = threads = next(fitting, 0)
    if not threads:  # more workers than processors: several on each
        return Share(
            workers=workers,
            threads=resources.threads or 1,
            cpus=0.5 * sum(cpus) / workers,
            gpus=resources.gpus_per_worker,
        )
    return Share(
        workers=workers,
        threads=resources.threads or threads,
        # A little is left, or Ray would have no processor for tasks of its own.
        cpus=0.9 * reserved,
        gpus=resources.gpus_per_worker,
    )


def versions() -> dict[str, str]:
    """Versions of what decides values; all nodes must have the same ones."""
    names = ("torch", "numpy", "tokenizers", "pyarrow")
    rules = ("detect-secrets", "phonenumbers", "python-stdnum")  # of `tag`
    found = {name: _version(name) for name in (*names, *rules)}
    python = platform.python_version_tuple()[:2]
    return {"bigcode": __version__, "python": ".".join(python), **found}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def content_hash(folder: Path) -> str:
    """A hash of what decides values: a copy of a model elsewhere is the same model."""
    from hashlib import blake2b

    from gpt_bigcode.checkpoint.tensor_index import weight_files
    from gpt_bigcode.loading import GENERATION_FILE, TOKENIZER_FILE
    from gpt_bigcode.reading import open_checked
    from gpt_bigcode.tokenization.vocab_files import PARTS

    found = blake2b(digest_size=16)
    has_tokenizer = os.path.lexists(folder / TOKENIZER_FILE)
    names = ("config.json", *((TOKENIZER_FILE,) if has_tokenizer else PARTS), GENERATION_FILE)
    there = (folder / name for name in names if os.path.lexists(folder / name))
    for path in (*there, *weight_files(folder)):
        with open_checked(path) as stream:
            while data := stream.read(_HASHED_AT_ONCE):
                found.update(data)
    return found.hexdigest()


def model_folder(model: ModelPlan) -> Path:
    """The model on this node: in the same place, or by its name.

    Raises:
        Failure: it is not there, or is another one.
    """
    from bigcode_cli.models.resolve import find_model

    folder = Path(model.folder)
    if not (folder / "config.json").is_file():
        folder = Path(find_model(model.name).directory)
    if content_hash(folder) != model.content:
        raise Failure("cluster", f"{folder} is another model than the driver's {model.name}")
    return folder


def require_versions(plan: Plan) -> None:
    """Check this node against the driver.

    Raises:
        Failure: something differs; it is named.
    """
    here = versions()
    for name, wanted in plan.versions.items():
        if here.get(name) != wanted:
            raise Failure("cluster", f"{name} {here.get(name)}, the driver has {wanted}")


@contextmanager
def connected(resources: Resources) -> Iterator[list[str]]:
    """Start or join Ray.

    Yields:
        The ids of its nodes.

    Raises:
        Failure: the cluster is not there.
    """
    # These are read when Ray is imported.
    os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
    if resources.address is None:
        os.environ.update(_LOOPBACK_ONLY, RAY_worker_niceness="0", **_THREADS)
    elif resources.address.startswith(_LOOPBACK_HOSTS):
        os.environ.update(_LOOPBACK_ONLY)
    with _own_stderr():
        import ray

        handler = signal.getsignal(signal.SIGTERM)
        try:
            _start(resources)
            signal.signal(signal.SIGTERM, handler)  # Ray has taken it for itself
            nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
            _be_quiet()
            yield nodes
        finally:
            ray.shutdown()


def _start(resources: Resources) -> None:
    """Start Ray on this machine, or join it.

    A node that is not up after half a minute is given up by Ray: on a busy machine it is tried
    again.
    """
    import ray

    where: dict[str, Any] = {"address": resources.address}
    if resources.address is not None:
        _require_listener(resources.address)
    else:
        where = {
            "address": "local",
            "include_dashboard": False,
            "_node_ip_address": _LOOPBACK,
            "object_store_memory": _OBJECT_STORE_BYTES,  # rows never go through it
        }
    for left in reversed(range(_STARTS if resources.address is None else 1)):
        try:
            ray.init(**where, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # noqa: BLE001  # Ray raises no class of its own
            ray.shutdown()
            if left:
                continue
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise Failure("cluster", f"Ray cannot be reached: {reason}") from None
        return


def _require_listener(address: str) -> None:
    """Check that something listens there: Ray waits for minutes for a missing cluster.

    Raises:
        Failure: nothing does.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) >= 1 << 16:
        return  # `auto`, or a form that Ray knows or refuses
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise Failure("cluster", f"Ray cannot be reached: {address}: {reason}") from None


def _be_quiet() -> None:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = 0
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def share_of_nodes(resources: Resources) -> Share:
    """What each worker gets of the cluster that is connected.

    Raises:
        UsageFailure: it has fewer GPUs than asked for.
    """
    import ray

    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = max((node.get("GPU", 0.0) for node in found), default=0.0)
    if resources.gpus_per_worker > gpus:
        wanted = f"--gpus-per-worker {resources.gpus_per_worker:g}"
        raise UsageFailure(f"{wanted}: no node has more than {gpus:g} GPUs")
    share = share_out([node.get("CPU", 0.0) for node in found], resources)
    # Workers with an environment of their own take longer to start.
    environment = None if resources.address is None else {"env_vars": _THREADS}
    return replace(share, environment=environment)


def check_nodes(nodes: Sequence[str], plan: Plan, paths: Sequence[str]) -> None:
    """Check that every node has the driver's versions and model, and sees the data.

    Raises:
        Failure: one does not; it is named.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    check = ray.remote(_node_fault)
    waiting = {}
    for node in nodes:
        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        options = {"num_cpus": 0, "max_retries": 1, "scheduling_strategy": strategy}
        waiting[node] = check.options(**options).remote(plan, paths)
    faults = []
    for node, reference in waiting.items():
        try:
            fault = ray.get(reference, timeout=_CHECK_SECONDS)
        except ray.exceptions.RayError as error:
            fault = cause_of(error)
        if fault is not None:
            faults.append(f"node {_address_of(node)}: {fault}")
    if faults:
        more = f" (and {len(faults) - _SHOWN_FAULTS} more)" if len(faults) > _SHOWN_FAULTS else ""
        raise Failure("cluster", "; ".join(faults[:_SHOWN_FAULTS]) + more)


def _node_fault(plan: Plan, paths: Sequence[str]) -> str | None:
    """Run on a node: why it cannot work on this plan."""
    from bigcode_cli.distributed.inputs import open_filesystem

    try:
        require_versions(plan)
        model_folder(plan.model)
        for path in paths:
            filesystem, name = open_filesystem(path)
            if not filesystem.get_file_info(name).type:
                return f"{path} is not there"
    except (Failure, OSError) as error:
        return str(error)
    return None


def _address_of(node: str) -> str:
    import ray

    found: dict[str, Any] = next((one for one in ray.nodes() if one["NodeID"] == node), {})
    return f"{found.get('NodeManagerAddress', '?')} ({node[:8]})"


def cause_of(error: BaseException) -> str:
    """The cause of an error that Ray wrapped, in one line."""
    cause = innermost(error)
    lines = [line for line in str(cause).strip().splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else type(cause).__name__


def innermost(error: BaseException) -> BaseException:
    """What Ray wrapped."""
    cause: BaseException = error
    while True:
        inner = getattr(cause, "cause", None) or cause.__cause__
        if not isinstance(inner, BaseException) or inner is cause:
            return cause
        cause = inner


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
