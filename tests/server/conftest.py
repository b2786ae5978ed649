"""A real server process for each test or module, in a runtime folder of its own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from program import Run
from served import Server, Start


def _starting() -> Iterator[Start]:
    servers: list[Server] = []
    folders: list[Path] = []

    def start(*arguments: str, statements: str = "") -> Server:
        # Not below pytest's folders: a socket's path has at most 107 bytes.
        top = Path(tempfile.mkdtemp(prefix="bc"))
        folders.append(top)
        home = top / "home"
        home.mkdir()
        server = Server(*arguments, runtime=top, home=home, statements=statements)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()
    for folder in folders:
        shutil.rmtree(folder)


@pytest.fixture
def start() -> Iterator[Start]:
    """`start("--port", "0")`: a server that ends with the test."""
    yield from _starting()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with the built-in models, for all tests of a module."""
    for start in _starting():
        yield start("--port", "0")


@pytest.fixture(scope="module")
def hasty() -> Iterator[Server]:
    """A server that waits a second for headers, bodies, and the end of what runs when it stops."""
    limits = (
        "import bigcode_cli.commands.serve.run as run, bigcode_cli.server.exchange as exchange",
        "run.HEADER_SECONDS = run.SHUTDOWN_SECONDS = exchange.BODY_SECONDS = 1.0",
    )
    for start in _starting():
        yield start("--port", "0", statements="\n".join(limits))


@pytest.fixture(scope="module")
def brief(tiny_checkpoint: Path) -> Iterator[Server]:
    """A server whose model has 128 positions, so that no text that it writes is long."""
    for start in _starting():
        yield start("--port", "0", "-m", str(tiny_checkpoint))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder to work in."""
    work = tmp_path / "work"
    work.mkdir()
    return work


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A private folder whose name is short enough for a socket, wherever pytest's folders are."""
    with tempfile.TemporaryDirectory(prefix="bc") as name:
        yield Path(name)


@pytest.fixture
def warm(server: Server, folder: Path) -> Run:
    """The program, where a server runs."""
    return server.run(folder)


@pytest.fixture
def cold(server: Server, folder: Path) -> Run:
    """The same, without one."""
    return Run(folder, {**server.environment, "BIGCODE_SERVER": "off"})
