"""models pull and the disk: cases 37 to 42, 48, and what is refused before any weights come."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cached_models import COMMIT
from fake_hub import FakeHub
from program import BIGCODE, Outcome, Run, assert_failed

NAME = "acme/tiny"
WEIGHTS = "model.safetensors"
Pull = Callable[..., Outcome]


def in_namespace(script: str) -> tuple[str, ...]:
    """Run the program after `script` in a mount namespace of its own."""
    return ("unshare", "-rm", "sh", "-ec", f'{script}; exec "$@"', "sh", BIGCODE)


def test_37_a_file_system_without_locks(pull: Pull, hub: FakeHub) -> None:
    without_locks = (
        "import fcntl, errno\n"
        "def flock(*_): raise OSError(errno.ENOSYS, 'no locks here')\n"
        "fcntl.flock = flock\n"
    )
    assert pull(NAME, statements=without_locks).status == 0
    assert len(hub.paths(WEIGHTS)) == 1


def test_38_too_little_space_is_found_first(pull: Pull, hub: FakeHub, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    program = in_namespace(f"mount -t tmpfs -o size=500k none {disk}")
    done = pull(NAME, program=program, env={"HF_HOME": str(disk)})
    assert_failed(done, "no-space")
    assert f"needs 688 kB, but {disk} has 512 kB free" in done.stderr
    assert hub.paths(WEIGHTS) == []


def test_38_a_disk_that_fills_up(pull: Pull, place: Path) -> None:
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (300_000, 300_000))"
    done = pull(NAME, statements=limit)
    assert_failed(done, "no-space")
    assert list(place.rglob("*.incomplete")) == []
    assert pull(NAME).status == 0


def test_39_a_cache_that_cannot_be_written(pull: Pull, run: Run, place: Path) -> None:
    cache = Path(run.environment["HOME"]) / ".cache"
    cache.mkdir()
    program = in_namespace(f"mount --bind {cache} {cache}; mount -o remount,ro,bind {cache}")
    done = pull(NAME, program=program)
    assert_failed(done, "cache-readonly")
    assert "HF_HOME" in done.stderr
    assert pull(NAME).status == 0
    done = pull(NAME, program=program)
    assert (done.status, done.stdout) == (0, bytes(place / "snapshots" / COMMIT) + b"\n")


def test_40_a_cache_that_is_a_file(pull: Pull, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_failed(pull(NAME, env={"HF_HOME": str(tmp_path / "file")}), "cache")


def test_40_an_empty_home_variable_is_no_place(pull: Pull, place: Path) -> None:
    assert pull(NAME, env={"HF_HOME": "", "HF_HUB_CACHE": ""}).status == 0
    assert (place / "refs" / "main").exists()


@pytest.mark.parametrize("content", ["", "../../../etc", "0" * 41])
def test_41_a_broken_reference_is_mended(content: str, pull: Pull, run: Run, place: Path) -> None:
    assert pull(NAME).status == 0
    (place / "refs" / "main").write_text(content, "utf-8")
    assert_failed(run("models", "show", NAME), "model-corrupt")
    assert pull(NAME).status == 0
    assert (place / "refs" / "main").read_text("utf-8") == COMMIT


def test_42_a_link_without_a_target(pull: Pull, run: Run, place: Path) -> None:
    assert pull(NAME).status == 0
    link = place / "snapshots" / COMMIT / "config.json"
    link.resolve().unlink()
    assert run("models", "show", NAME).status == 3
    assert pull(NAME).status == 0
    assert run("models", "show", NAME).status == 0


def test_42_a_link_that_leads_out(pull: Pull, run: Run, place: Path) -> None:
    assert pull(NAME).status == 0
    link = place / "snapshots" / COMMIT / "config.json"
    link.unlink()
    link.symlink_to("/etc/passwd")
    for command in (("models", "show", NAME), ("complete", "-m", NAME)):
        assert_failed(run(*command), "model-corrupt")
    assert pull(NAME).status == 0
    assert run("models", "show", NAME).status == 0


def test_42_a_damaged_copy_is_fetched_again(pull: Pull, hub: FakeHub, place: Path) -> None:
    assert pull(NAME).status == 0
    weights = place / "snapshots" / COMMIT / WEIGHTS
    data = bytearray(weights.read_bytes())
    data[5000] ^= 1
    weights.write_bytes(data)
    done = pull(NAME)
    assert done.status == 0
    assert f"{WEIGHTS}: the cache's copy is damaged" in done.stderr
    assert len(hub.paths(WEIGHTS)) == 2


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate that nobody signed, with its key."""
    path = tmp_path / "certificate.pem"
    command = ("openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "1")
    names = ("-subj", "/CN=127.0.0.1", "-keyout", path, "-out", tmp_path / "part.pem")
    subprocess.run([*command, *names], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "part.pem").read_bytes())
    return path


def test_48_a_certificate_that_nobody_signed(pull: Pull, hub: FakeHub, certificate: Path) -> None:
    hub.encrypt(certificate)
    done = pull(NAME, env={"HF_ENDPOINT": hub.url.replace("http:", "https:")})
    assert_failed(done, "tls")
    assert "its certificate is refused (self" in done.stderr


def test_48_a_proxy_that_is_gone(pull: Pull) -> None:
    proxy = "http://user:secret@127.0.0.1:1"
    names = {"HF_ENDPOINT": "https://hub.example", "HTTPS_PROXY": proxy, "BIGCODE_DEBUG": "1"}
    done = pull(NAME, env=names)
    assert_failed(done, "offline")
    assert "through the proxy 127.0.0.1:1 (Connection refused)" in done.stderr
    assert "hint: HTTPS_PROXY names that proxy" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        (
            "ALL_PROXY",
            "socks5://user:secret@127.0.0.1:1",
            "a SOCKS proxy needs the package socksio",
        ),
        ("https_proxy", "socks4://127.0.0.1:1", "is not the address of a proxy"),
        ("HTTPS_PROXY", "http://host:port", "is not the address of a proxy"),
        ("HTTP_PROXY", "http://host:99999", "is not the address of a proxy"),
        ("http_proxy", "nonsense://x", "is not the address of a proxy"),
        ("SSL_CERT_FILE", "missing.pem", "No such file or directory"),
        ("SSL_CERT_FILE", ".", "Is a directory"),
        ("SSL_CERT_FILE", "bad.pem", "holds no certificates"),
    ],
)
def test_48_a_variable_that_cannot_be_used(
    variable: str, value: str, words: str, pull: Pull, run: Run, place: Path
) -> None:
    """It is named, and what is here can still be used."""
    (run.folder / "bad.pem").write_text("garbage", "utf-8")
    without_socks = "import sys; sys.modules['socksio'] = None"
    done = pull(NAME, env={variable: value}, statements=without_socks)
    assert_failed(done, "network-settings")
    assert f"{variable}: {words}" in done.stderr
    assert "secret" not in done.stderr
    assert pull(NAME).status == 0
    done = pull(NAME, env={variable: value}, statements=without_socks)
    assert (done.status, done.stdout) == (0, bytes(place / "snapshots" / COMMIT) + b"\n")
    assert f"{variable}: {words}; using the cached commit {COMMIT[:8]}" in done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HF_ENDPOINT", "http://127.0.0.1:99999"),
        ("HF_ENDPOINT", "ftp://127.0.0.1"),
        ("HF_ENDPOINT", "nonsense"),
        ("HF_HUB_ETAG_TIMEOUT", "soon"),
    ],
)
def test_48_a_variable_of_the_hub_s_tools(variable: str, value: str, pull: Pull) -> None:
    done = pull(NAME, env={variable: value})
    assert done.status == 2
    assert done.stderr.startswith(f"bigcode: error[settings]: {variable}: is not ")


def test_a_model_without_a_tokenizer_is_refused_before_its_weights(
    pull: Pull, hub: FakeHub, place: Path
) -> None:
    del hub.repositories[NAME].files["tokenizer.json"]
    done = pull(NAME)
    assert_failed(done, "model-missing")
    assert "it has no tokenizer.json, nor vocab.json and merges.txt" in done.stderr
    assert hub.paths(WEIGHTS) == []
    assert not place.exists()


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"model_type": "starcoder2"}, "starcoder2"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "bert"),
        ({"architectures": ["EvilForCausalLM"]}, "EvilForCausalLM"),
        ({"n_head": 7}, "n_head"),
        ({"rope_theta": 1e4}, "rope_theta"),
    ],
)
def test_another_architecture_is_refused_before_its_weights(
    fields: dict[str, object], word: str, pull: Pull, hub: FakeHub, place: Path
) -> None:
    files = hub.repositories[NAME].files
    files["config.json"] = json.dumps({**json.loads(files["config.json"]), **fields}).encode()
    done = pull(NAME)
    assert done.status == 3
    assert "bigcode: error[model-" in done.stderr
    assert word in done.stderr
    assert hub.paths(WEIGHTS) == []
    assert not place.exists()


@pytest.mark.parametrize(
    ("missing", "present", "slug", "words"),
    [
        ("config.json", "model-q4.gguf", "model-unsupported", "it holds GGUF files"),
        (WEIGHTS, "pytorch_model.bin", "model-unsafe", "only a pickle ('pytorch_model.bin')"),
    ],
)
def test_what_holds_no_model_that_can_be_used(
    missing: str, present: str, slug: str, words: str, pull: Pull, hub: FakeHub
) -> None:
    files = hub.repositories[NAME].files
    del files[missing]
    files[present] = b"GGUF"
    done = pull(NAME)
    assert_failed(done, slug)
    assert words in done.stderr
    assert hub.paths(present) == []


def test_a_bar_on_a_terminal(hub: FakeHub, environment: dict[str, str]) -> None:
    command = ["script", "-qec", f"{BIGCODE} models pull {NAME}", "/dev/null"]
    done = subprocess.run(
        command,
        env={**environment, "TERM": "xterm"},
        capture_output=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0
    assert b"acme/tiny" in done.stdout
    assert b"\x1b[" in done.stdout
    assert os.fsencode(COMMIT) in done.stdout
