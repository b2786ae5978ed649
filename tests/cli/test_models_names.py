"""Names of models: what is meant, what can be had, and what each command says about it."""

from pathlib import Path

import pytest

from bigcode_cli.models.aliases import PUBLISHED, SHORT_NAMES
from cached_models import add_to_cache
from program import BIGCODE, Run

NAME = "acme/tiny"
TAGGER_LABELS = ["EMAIL", "IP_ADDRESS", "KEY", "PASSWORD", "NAME", "USERNAME"]


@pytest.fixture
def cache(run: Run, checkpoint: Path) -> Path:
    root = Path(run.environment["HOME"]) / ".cache" / "huggingface" / "hub"
    add_to_cache(root, NAME, checkpoint)
    return root


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("pocket", "did you mean pocket-coder?"),
        ("pocket-secret", "did you mean pocket-secrets?"),
        ("starcodr", "did you mean starcoder?"),
        ("acme/tyni", f"did you mean {NAME}? bigcode models pull acme/tyni downloads it"),
        ("starcoder", "bigcode models pull starcoder downloads it"),
        ("nonsense", "bigcode models list shows installed models, --available those to download"),
    ],
)
def test_what_was_meant(name: str, hint: str, run: Run, cache: Path) -> None:
    for command in (("models", "show"), ("models", "verify"), ("models", "default")):
        done = run(*command, name)
        assert done.status == 3
        assert done.stderr.endswith(f"hint: {hint}\n")
    done = run("complete", "-m", name)
    assert f"hint: {hint}" in done.stderr
    assert ("-m ./FOLDER names a folder" in done.stderr) == (name == "nonsense")


@pytest.mark.parametrize("name", ["nonsense", "starcodr", "pocket-coder"])
def test_what_no_hub_has_is_not_asked_for(name: str, run: Run) -> None:
    done = run("models", "pull", name, env={"HF_ENDPOINT": "http://127.0.0.1:1"})
    assert done.status == 2
    assert done.stderr.startswith("bigcode: error[usage]: REPO: ")
    assert ("did you mean starcoder?" in done.stderr) == (name == "starcodr")
    assert ("is built in" in done.stderr) == (name == "pocket-coder")


@pytest.mark.parametrize("command", [("remove", "--yes"), ("update",)])
def test_a_built_in_model_is_not_in_the_cache(command: tuple[str, ...], run: Run) -> None:
    done = run("models", *command, "pocket-coder")
    assert done.status == 2
    assert "NAME: pocket-coder is built in: it comes with bigcode" in done.stderr


def test_the_models_that_can_be_downloaded(run: Run, cache: Path, checkpoint: Path) -> None:
    add_to_cache(cache, SHORT_NAMES["tiny_starcoder_py"], checkpoint)
    models = run("models", "list", "--available", "--format=json").json["models"]
    assert [entry["name"] for entry in models] == [model.name for model in PUBLISHED]
    assert [entry["name"] for entry in models if entry["downloaded"]] == ["tiny_starcoder_py"]
    lines = run("models", "list", "--available").stdout.decode().splitlines()
    assert lines[0].split() == ["NAME", "REPOSITORY", "PARAMETERS", "ACCESS", "DOWNLOADED"]
    assert len(lines) == 1 + len(PUBLISHED)


def test_verify_says_what_a_built_in_model_cannot_be_compared_with(run: Run) -> None:
    said = run("models", "verify", "pocket-coder").stdout
    assert b"ok: weights and tokenizer fit the configuration; a built-in model has no pub" in said


def test_show_names_labels(run: Run) -> None:
    assert run("models", "show", "pocket-secrets", "--format=json").json["labels"] == TAGGER_LABELS
    shown = run("models", "show", "pocket-languages").stdout.decode()
    assert "\nlabels " in shown
    assert "Python" in shown
    assert "infill tokens" not in shown
    document = run("models", "show", "pocket-languages", "--format=json").json
    assert document["label_aliases"]["C++"] == ["cpp", "c++", "cplusplus", "cxx"]
    assert set(document["label_aliases"]) <= set(document["labels"])
    assert "; python, py, python3 = Python; " in shown
    assert run("models", "show", "pocket-coder", "--format=json").json["labels"] == []


def test_the_default_of_every_command(run: Run, cache: Path) -> None:
    lines = run("models", "default").stdout.decode().splitlines()
    assert [line.split()[-1] for line in lines] == [
        "pocket-coder",
        "pocket-languages",
        "pocket-secrets",
    ]
    assert run("models", "default", NAME).stdout == b"acme/tiny\n"
    document = run("models", "default", "--format=json").json
    assert [(entry["setting"], entry["model"]) for entry in document["defaults"]] == [
        ("model", NAME),
        ("classify-model", "pocket-languages"),
        ("tag-model", "pocket-secrets"),
    ]


def test_nothing_to_update(run: Run) -> None:
    done = run("models", "update")
    assert (done.status, done.stdout) == (0, b"")
    assert "no downloaded model tracks a branch; nothing to update" in done.stderr


def test_a_table_on_a_terminal(run: Run) -> None:
    """Headings are bold; what is in the cells is text, whatever it looks like."""
    program = ("script", "-qec", f"{BIGCODE} models list", "/dev/null")
    done = run(program=program, env={"TERM": "xterm"}, stdin=-3)
    assert b"\x1b[1m" in done.stdout
    assert b"pocket-coder" in done.stdout


@pytest.mark.parametrize("reference", [None, "e" * 40], ids=["none", "ahead"])
def test_what_is_listed_is_found(reference: str | None, run: Run, checkpoint: Path) -> None:
    """A copy without references, or an update that broke off: all commands say the same."""
    root = Path(run.environment["HOME"]) / ".cache" / "huggingface" / "hub"
    snapshot = add_to_cache(root, NAME, checkpoint, reference=None)
    if reference is not None:
        (root / "models--acme--tiny" / "refs" / "main").write_text(reference, "utf-8")
    listed = run("models", "list", "--format=json").json["models"]
    assert (NAME, snapshot.name) in [(entry["name"], entry["revision"]) for entry in listed]
    note = f"{NAME}: no branch main in the cache; using its only commit {snapshot.name}"
    for command in ("show", "path", "verify"):
        done = run("models", command, NAME, "--format=json")
        assert (done.status, done.json["revision"]) == (0, snapshot.name)
        assert note in done.stderr
    done = run("complete", "-m", NAME, "--max-tokens=3")
    assert done.status == 0
    assert note in done.stderr
    assert run("models", "pull", "--offline", NAME).stdout == bytes(snapshot) + b"\n"
