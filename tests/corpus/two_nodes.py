"""A Ray cluster of two nodes on this machine, for as long as standard input is open.

Prints one line of JSON: the address, and the process of the second node that its others end with.
Each argument NAME=VALUE is an environment variable of the second node. A line on standard input
starts one more node, and its process is printed.
"""

import contextlib
import json
import os
import sys
from typing import Any

ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # or it would listen on every interface
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}


def main() -> None:
    os.environ.update(ENVIRONMENT)
    from ray.cluster_utils import Cluster

    node = {
        "node_ip_address": "127.0.0.1",
        "num_cpus": 1,
        "object_store_memory": 80 << 20,
        "include_dashboard": False,
        "include_log_monitor": False,
        "no_monitor": True,
    }
    cluster = Cluster()
    started(cluster, node)
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        os.environ[name] = value
    second = started(cluster, node)
    say({"address": cluster.address, "raylet": raylet_of(second)})
    for _ in sys.stdin:
        say({"raylet": raylet_of(started(cluster, node))})
    cluster.shutdown()


def started(cluster: Any, node: dict[str, Any]) -> Any:
    """One more node; Ray gives up one that is not there after half a minute."""
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
