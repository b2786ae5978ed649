"""llama.cpp's server of the `xllamacpp` wheel, as a process that tells its address.

Started by server.py and by tests: python llama_server.py FILE.gguf THREADS SLOTS CONTEXT
"""

import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve until standard input is closed."""
    import xllamacpp

    path, threads, slots, context = sys.argv[1], *map(int, sys.argv[2:5])
    wanted: Any = xllamacpp.CommonParams()
    wanted.model.path, wanted.model_alias = path, {Path(path).stem}
    wanted.hostnames, wanted.port = ["127.0.0.1"], 0
    wanted.n_parallel, wanted.n_ctx, wanted.n_gpu_layers = slots, slots * context, 0
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(wanted)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
