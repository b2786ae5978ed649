"""A Ray cluster on this machine: a program that starts it, and what tests need of it.

Arguments: the processors of each node. Prints one line of JSON: the address, and the process of
the last node that its others end with. A line on standard input starts one more node of one
processor, and its process is printed. The cluster ends with standard input.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LIMIT_SECONDS = 240
_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # or it would listen on every interface
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}


class Cluster:
    """Nodes on this machine.

    Attributes:
        address: what `--address` takes.
        pid: the process that started the nodes.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process, self.pid = process, process.pid
        found = self._answer()
        self.address, self._raylet = str(found["address"]), int(found["raylet"])

    def kill_last(self) -> None:
        """End the node that was started last."""
        os.kill(self._raylet, signal.SIGKILL)

    def add(self) -> None:
        """Start one more node."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._raylet = int(self._answer()["raylet"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))


@contextmanager
def two_nodes(environment: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """Two nodes of one processor each, for as long as the block lasts."""
    with subprocess.Popen(
        [sys.executable, __file__, "1", "1"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Cluster(process)
            assert process.stdin is not None
            process.stdin.close()
            process.wait(LIMIT_SECONDS)
        finally:
            process.kill()


def processes_below(pid: int) -> dict[int, str]:
    """The processes that one started, and what they are called."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            # After the name, which may hold anything: state, parent.
            fields = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
            names[int(folder.name)] = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return {number: names[number] for number in below - {pid} if names.get(number)}


def workers_of(pid: int) -> list[int]:
    """The processes of Ray's actors that compute, below one process."""
    found = processes_below(pid).items()
    return [number for number, name in found if re.match(r"ray::.*MapWorker", name)]


def main() -> None:
    os.environ.update(_ENVIRONMENT)
    signal.alarm(LIMIT_SECONDS)
    from ray.cluster_utils import Cluster as RayCluster

    cluster = RayCluster()
    nodes = [_started(cluster, int(count)) for count in sys.argv[1:]]
    _say({"address": cluster.address, "raylet": _raylet_of(nodes[-1])})
    signal.alarm(0)
    for _ in sys.stdin:
        _say({"raylet": _raylet_of(_started(cluster, 1))})
    os.close(sys.stdin.fileno())
    signal.alarm(LIMIT_SECONDS)
    cluster.shutdown()


def _started(cluster: Any, processors: int) -> Any:
    """One more node; Ray gives up one that is not there after half a minute."""
    node = {
        "node_ip_address": "127.0.0.1",
        "num_cpus": processors,
        "object_store_memory": 80 << 20,
        "include_dashboard": False,
        "include_log_monitor": False,
        "no_monitor": True,
    }
    for _ in range(4):
        with contextlib.suppress(Exception):  # Ray raises no class of its own
            return cluster.add_node(**node)
    return cluster.add_node(**node)


def _say(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def _raylet_of(node: Any) -> int:
    (process,) = node.all_processes["raylet"]
    return int(process.process.pid)


if __name__ == "__main__":
    main()
