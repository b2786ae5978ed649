"""The entry point of `bigcode`; see `framework/process_safety.py` for what must come first."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the current folder, put there by -m; before any other import

import os

_INTERRUPTED = 130
_OBJECTS_PER_COLLECTION = 100_000  # short calls end before the first collection


def run() -> None:
    """Run the command line and end the process with its exit status."""
    try:
        from bigcode_cli.framework import process_safety

        process_safety.make_process_safe()
        from bigcode_cli.framework import signals

        signals.install()
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)
    try:
        import gc

        gc.disable()  # imports make no garbage; collecting it took 5 % of --help
        from bigcode_cli.app import main

        gc.set_threshold(_OBJECTS_PER_COLLECTION)
        gc.enable()
        status = main()
    except KeyboardInterrupt:
        status = _INTERRUPTED
    process_safety.end_process(signals.status() or status)


if __name__ == "__main__":
    run()
