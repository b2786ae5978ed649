"""Fixtures for tests that run the real program."""

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # program and scripted_models lie here

from fake_hub import TOKEN, FakeHub, Repository, folder_files
from program import Outcome, Run
from scripted_models import encode, numbered_lines, write_checkpoint


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The program in an empty folder, with a home of its own and nothing inherited."""
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
        # The scripted models write their text whatever the prompt is.
        "BIGCODE_NO_HEALING": "1",
    }
    return Run(folder, environment)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes numbered lines, whatever the prompt is, up to position 8,192."""
    folder = tmp_path_factory.mktemp("models") / "numbered"
    return write_checkpoint(folder, script=encode(numbered_lines(600)), positions=8192)


@pytest.fixture(scope="session")
def uniform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives every token the same probability."""
    folder = tmp_path_factory.mktemp("models") / "uniform"
    return write_checkpoint(folder, script=encode("x"), positions=64, sharp=0.0)


@pytest.fixture
def expect(run: Run, checkpoint: Path) -> Callable[..., Outcome]:
    """`score` with the model that expects numbered lines."""
    return partial(run, "score", "-m", checkpoint)


@pytest.fixture
def tag(run: Run, model: Path) -> Callable[..., Outcome]:
    """`tag` with the `model` of the module that asks for it."""
    return partial(run, "tag", "-m", model)


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., Path]:
    """`scripted("text", after="prompt")`: a checkpoint that writes `text` and ends."""

    def make(text: str | bytes, *, after: str = "#\n", **options: Any) -> Path:
        at = len(encode(after))  # position 0 is that of <|endoftext|>
        return write_checkpoint(tmp_path / "scripted", script=encode(text), at=at, **options)

    return make


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A model of 600 kB that writes "hello", and files that nobody needs."""
    folder = tmp_path_factory.mktemp("hub") / "tiny"
    write_checkpoint(folder, script=encode("hello"), positions=2048)
    needless = ("pytorch_model.bin", "modeling_evil.py", "onnx.onnx", "model.fp16.safetensors")
    extra = dict.fromkeys(needless, b"never to be fetched")
    card = {"README.md": b"---\nlicense: apache-2.0\n---\n", ".gitattributes": b"*.bin lfs\n"}
    return {**folder_files(folder), **extra, **card}


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[FakeHub]:
    """A hub that holds acme/tiny."""
    with FakeHub() as hub:
        hub.repositories["acme/tiny"] = Repository(dict(files))
        yield hub


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One certificate: to read the usual 150 takes a third of a call."""
    import certifi

    end = "-----END CERTIFICATE-----\n"
    path = tmp_path_factory.mktemp("certificates") / "one.pem"
    path.write_text(certifi.contents().partition(end)[0] + end, "ascii")
    return path


@pytest.fixture
def environment(run: Run, hub: FakeHub, certificates: Path) -> dict[str, str]:
    """What a process needs to find the hub; the token is always there, and never to be seen."""
    hub_variables = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DOWNLOAD_TIMEOUT": "60"}
    return {**run.environment, **hub_variables, "SSL_CERT_FILE": str(certificates)}


@pytest.fixture
def pull(run: Run, environment: dict[str, str]) -> Callable[..., Outcome]:
    """`pull("acme/tiny", "--format=json")`; whatever happens, no token is written anywhere."""

    def call(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> Outcome:
        done = run("models", "pull", *arguments, env={**environment, **(env or {})}, **options)
        assert TOKEN not in done.stderr
        assert TOKEN.encode() not in done.stdout
        assert done.stderr.count("hint: ") <= 1
        return done

    return call


@pytest.fixture
def place(run: Run) -> Path:
    """Where the cache keeps the repository."""
    home = Path(run.environment["HOME"])
    return home / ".cache" / "huggingface" / "hub" / "models--acme--tiny"
