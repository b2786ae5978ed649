"""A Ray cluster on this machine, for as long as standard input is open.

Arguments: the processors of each node. Prints one line of JSON: the address, and the process of
the last node that its others end with. A line on standard input starts one more node of one
processor, and its process is printed.
"""

import contextlib
import json
import os
import signal
import sys
from typing import Any

ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # or it would listen on every interface
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}
LIMIT_SECONDS = 600


def main() -> None:
    os.environ.update(ENVIRONMENT)
    signal.alarm(LIMIT_SECONDS)
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    nodes = [started(cluster, int(count)) for count in sys.argv[1:]]
    say({"address": cluster.address, "raylet": raylet_of(nodes[-1])})
    signal.alarm(0)
    for _ in sys.stdin:
        say({"raylet": raylet_of(started(cluster, 1))})
    os.close(sys.stdin.fileno())
    signal.alarm(LIMIT_SECONDS)
    cluster.shutdown()


def started(cluster: Any, processors: int) -> Any:
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


def say(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def raylet_of(node: Any) -> int:
    (process,) = node.all_processes["raylet"]
    return int(process.process.pid)


if __name__ == "__main__":
    main()
