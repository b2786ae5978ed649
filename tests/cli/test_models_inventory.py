"""models list, show and path: what is in the cache, without network and without heavy imports."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from cached_models import COMMIT, add_to_cache
from program import Run
from scripted_models import write_checkpoint

OTHER = "f" * 40
CARD = "---\nlanguage: code\nlicense: bigcode-openrail-m\n---\n# A model\n\nlicense: not-this\n"


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    place = tmp_path / "folder"
    shutil.copytree(checkpoint, place)
    (place / "README.md").write_text(CARD, "utf-8")
    return place


@pytest.fixture
def cache(run: Run, folder: Path) -> Path:
    """The default cache, holding acme/tiny."""
    root = Path(run.environment["HOME"]) / ".cache" / "huggingface" / "hub"
    add_to_cache(root, "acme/tiny", folder)
    return root


def test_list_names_models_that_are_whole(run: Run, cache: Path, folder: Path) -> None:
    add_to_cache(cache, "acme/second", folder, commit=OTHER, reference=None)
    config = folder / "config.json"
    fields = json.loads(config.read_text("utf-8"))
    config.write_text(json.dumps({**fields, "model_type": "bert"}), "utf-8")
    add_to_cache(cache, "acme/other-architecture", folder)
    config.unlink()
    add_to_cache(cache, "acme/partly-here", folder)
    (cache / "datasets--acme--data").mkdir()
    (cache / "models--..--x").mkdir()
    (cache / "models--acme--link").symlink_to(cache / "models--acme--tiny")
    done = run("models", "list", "--format", "json")
    assert (done.status, done.stderr) == (0, "")
    listed = [entry for entry in done.json["models"] if entry["source"] == "cache"]
    assert [(entry["name"], entry["revision"]) for entry in listed] == [
        ("acme/link", COMMIT),  # the user may keep a repository elsewhere
        ("acme/second", OTHER),
        ("acme/tiny", COMMIT),
    ]
    entry = listed[2]
    assert entry["references"] == ["main"]
    assert entry["tasks"] == ["complete", "infill", "score"]
    assert entry["architecture"] == "GPTBigCodeForCausalLM"
    parts = ("config.json", "tokenizer.json", "model.safetensors", "README.md")
    place = cache / "models--acme--tiny" / "snapshots" / COMMIT
    assert entry["bytes"] == sum((place / name).stat().st_size for name in parts)


def test_list_for_people(run: Run, cache: Path) -> None:
    lines = run("models", "list").stdout.decode().splitlines()
    assert lines[0].split() == ["NAME", "REVISION", "SIZE", "PARAMETERS", "TASKS"]
    assert ["acme/tiny", "01234567", "(main)"] in [line.split()[:3] for line in lines]


def test_json_lines_are_one_line(run: Run, cache: Path) -> None:
    assert run("models", "list", "--format=jsonl").stdout.count(b"\n") == 1


@pytest.mark.parametrize(
    ("architecture", "tasks"),
    [
        ("GPTBigCodeForSequenceClassification", ["classify"]),
        ("GPTBigCodeForTokenClassification", ["tag"]),
        ("GPTBigCodeModel", []),
    ],
)
def test_tasks_follow_the_architecture(
    architecture: str, tasks: list[str], run: Run, folder: Path
) -> None:
    config = folder / "config.json"
    fields = json.loads(config.read_text("utf-8"))
    config.write_text(json.dumps({**fields, "architectures": [architecture]}), "utf-8")
    assert run("models", "show", folder, "--format=json").json["tasks"] == tasks


def test_show_computes_what_a_model_needs(run: Run, folder: Path) -> None:
    shown = run("models", "show", folder, "--format=json").json
    width, layers, head, positions = 64, 1, 32, 8192
    fields = json.loads((folder / "config.json").read_text("utf-8"))
    block = (width + 2 * head) * (width + 1) + 3 * width * (width + 1) + 4 * width
    parameters = (fields["vocab_size"] + positions) * width + layers * block + 2 * width
    assert shown["parameters"] == parameters
    sizes = {"float32": 256, "bfloat16": 128, "float16": 128, "int8": 256, "int4": 256}
    assert shown["cache_bytes_per_token"] == sizes
    memory = shown["memory_bytes"]
    assert memory["float32"] == 4 * parameters + positions * 256
    assert 1 <= (memory["int8"] - positions * 256) / parameters < 1.05
    assert 0.5 <= (memory["int4"] - positions * 256) / parameters < 0.6
    assert shown["precision"] == "float32"
    assert shown["licence"] == "bigcode-openrail-m"
    assert shown["context_tokens"] == positions
    assert shown["infill_tokens"] == ["<fim_prefix>", "<fim_middle>", "<fim_suffix>"]
    names = [entry["name"] for entry in shown["files"]]
    assert names == ["README.md", "config.json", "model.safetensors", "tokenizer.json"]


def test_show_for_people(run: Run, cache: Path) -> None:
    done = run("models", "show", "acme/tiny")
    assert (done.status, done.stderr) == (0, "")
    text = done.stdout.decode()
    for part in ("licence  ", "bigcode-openrail-m", "complete, infill, score", f"  {COMMIT}\n"):
        assert part in text


def test_names_from_the_cache_are_shown_safely(run: Run, cache: Path) -> None:
    place = cache / "models--acme--tiny" / "snapshots" / COMMIT
    (place / "\x1b]0;owned\x07.txt").touch()
    done = run("models", "show", "acme/tiny")
    assert (done.status, b"\x1b" in done.stdout) == (0, False)
    assert b"^[]0;owned^G.txt" in done.stdout


def test_path_is_exact(run: Run, cache: Path) -> None:
    done = run("models", "path", "acme/tiny")
    place = cache / "models--acme--tiny" / "snapshots" / COMMIT
    assert (done.status, done.stdout) == (0, bytes(place) + b"\n")
    assert run("models", "path", "acme/tiny", "--format=json").json == {
        "name": "acme/tiny",
        "revision": COMMIT,
        "path": str(place),
    }


def test_short_names_stand_for_repositories(run: Run, cache: Path, folder: Path) -> None:
    snapshot = add_to_cache(cache, "bigcode/gpt_bigcode-santacoder", folder)
    assert run("models", "path", "santacoder").stdout == bytes(snapshot) + b"\n"
    done = run("complete", "-m", "santacoder", "--max-tokens=3", input=b"")
    assert (done.status, len(done.stdout)) == (0, 3)


@pytest.mark.parametrize("command", ["show", "path"])
def test_what_is_not_here(command: str, run: Run) -> None:
    done = run("models", command, "starcoder")
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr.startswith("bigcode: error[model-missing]: starcoder: not in the local")
    assert "hint: bigcode models pull starcoder downloads it" in done.stderr


@pytest.mark.parametrize("name", ["-x", "a/../b", "a b", "acme/x@../../y", "caf\u00e9", "a\n"])
def test_45_names_that_no_model_has(name: str, run: Run) -> None:
    done = run("models", "show", "--", name)
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr.startswith("bigcode: error[usage]: NAME: ")


def test_models_alone_shows_its_help_as_an_error(run: Run) -> None:
    # The help is not made of messages, which is all that `run` lets the program write to stderr.
    done = run("models", program=(sys.executable, "-m", "bigcode_cli"))
    assert (done.status, done.stdout) == (2, b"")
    assert "  list     List the models" in done.stderr


def test_settings_reach_nested_commands(run: Run, cache: Path) -> None:
    assert run("models", "list", env={"BIGCODE_FORMAT": "json"}).json["models"]
    config = Path(run.environment["HOME"]) / ".config" / "bigcode" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('format = "json"\n', "utf-8")
    assert run("models", "list").json["models"]
    config.write_text("format = 1\n", "utf-8")
    assert run("models", "list").status == 2


def test_a_checkpoint_without_sentinels_cannot_infill(run: Run, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "plain", script=[])
    path = folder / "tokenizer.json"
    path.write_text(path.read_text("utf-8").replace("<fim_middle>", "<middle>"), "utf-8")
    shown = run("models", "show", folder, "--format=json").json
    assert (shown["tasks"], shown["infill_tokens"]) == (["complete", "score"], [])
