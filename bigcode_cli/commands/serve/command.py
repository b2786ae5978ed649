"""`bigcode serve`: keeps models in memory, for editors and for this tool itself."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from bigcode_cli.commands.serve.options import LimitOptions, ListenOptions, StartOptions
from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.framework.options import (
    ComputeOptions,
    LoudnessOptions,
    model_option,
)
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.load import set_numpy_threads
from bigcode_cli.models.resolve import find_model
from gpt_bigcode.errors import UnreadableFileError
from gpt_bigcode.reading import open_checked, read_stream

_KEY_BYTES = 4096

ServedModels = Annotated[
    list[str] | None,
    model_option(
        "pocket-coder, built in",
        "Model to load at start. Repeatable: the first one is the default. Other models are loaded"
        " when a request names them.",
        command_line_only=True,
    ),
]


def serve(  # one dataclass for each group of options
    *,
    served_models: ServedModels = None,
    listen: ListenOptions,
    start: StartOptions,
    limits: LimitOptions,
    compute: ComputeOptions,
    messages: LoudnessOptions,
) -> None:
    """Keep models in memory and answer editors and the other commands.

    Listens on a socket that only this user can reach, and on --port if given. Speaks the APIs of
    llama.cpp, OpenAI, Mistral, ollama, TGI and Tabby on the same port. complete, infill, score,
    classify and tag use a running server automatically.
    """
    _check_address(listen)
    set_numpy_threads(compute.threads)
    for name in served_models or []:
        find_model(name)
    key = _read_key(listen.api_key_file)
    notes = Notes(quiet=messages.quiet, verbose=messages.verbose)
    if start.background:
        from bigcode_cli.server.client.background import start_in_background

        start_in_background(notes)
        return
    from bigcode_cli.commands.serve.run import Settings, run_server

    settings = Settings(
        models=tuple(served_models or ()),
        listen=listen,
        limits=limits,
        compute=compute,
        key=key,
        exit_when_idle=start.exit_when_idle,
    )
    run_server(settings, notes)


def _check_address(listen: ListenOptions) -> None:
    """Refuse to be reachable from other machines without a key.

    Raises:
        UsageFailure: the address is invalid, or not loopback and there is no key.
    """
    if listen.host == "localhost":
        return
    try:
        address = ip_address(listen.host)
    except ValueError:
        raise UsageFailure(f"--host: {listen.host!r} is not an IP address") from None
    if not address.is_loopback and listen.api_key_file is None:
        why = f"{listen.host} can be reached from other machines"
        raise UsageFailure(f"--host: {why}", hint="give --api-key-file FILE too")


def _read_key(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        with open_checked(file, pipes=True) as stream:
            data = read_stream(stream, file, max_bytes=_KEY_BYTES)
        key = data.strip().decode("ascii")
    except UnreadableFileError as error:
        raise Failure("input", f"--api-key-file: {file}: {error.reason}") from None
    except UnicodeDecodeError:
        raise Failure("input", f"--api-key-file: {file}: not ASCII") from None
    if not key:
        raise Failure("input", f"--api-key-file: {file}: is empty")
    return key
