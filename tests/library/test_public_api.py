"""What users import, by short names; importing it is cheap, and strings do where enums do."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gpt_bigcode
from gpt_bigcode.errors import CheckpointMissingError, DraftMismatchError
from gpt_bigcode.hardware import Precision
from gpt_bigcode.loading import BUILT_IN_PACKAGES, model_folder

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", gpt_bigcode.__all__)
def test_every_exported_name_is_what_its_module_has(name: str) -> None:
    exported = getattr(gpt_bigcode, name)
    assert exported.__name__ == name
    assert exported is getattr(importlib.import_module(exported.__module__), name)
    assert name in dir(gpt_bigcode)


def test_a_name_that_is_not_exported_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'TextPoet'"):
        _ = gpt_bigcode.TextPoet


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, gpt_bigcode; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "numpy", "tokenizers", "safetensors"}
    assert {name for name in loaded if name.startswith("gpt_bigcode")} == {"gpt_bigcode"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("TextModel", "pocket-coder"),
        ("TextScorer", "pocket-coder"),
        ("TextClassifier", "pocket-languages"),
        ("TextTagger", "pocket-secrets"),
    ],
)
def test_a_built_in_model_is_loaded_by_its_name(kind: str, name: str) -> None:
    load: Any = getattr(gpt_bigcode, kind).load
    assert load(name).name == name
    by_path = load(str(model_folder(name)), name="mine", revision="abc", precision="float32")
    assert (by_path.name, by_path.revision) == ("mine", "abc")
    assert load(model_folder(name), precision=Precision.FLOAT32).name == BUILT_IN_PACKAGES[name]


def test_a_built_in_model_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "gpt_bigcode.loading.BUILT_IN_PACKAGES", {"pocket-coder": "pocket_coder_of_nobody"}
    )
    with pytest.raises(CheckpointMissingError, match="pocket-coder"):
        gpt_bigcode.TextModel.load("pocket-coder")


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissingError, match="no such file"):
        gpt_bigcode.TextModel.load(str(tmp_path / "nothing"))


def test_a_model_is_loaded_with_its_draft_and_its_cache(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    draft = gpt_bigcode.TextModel.load("pocket-coder")
    model = gpt_bigcode.TextModel.load("pocket-coder", draft=draft, prefix_cache=tmp_path / "kept")
    assert model.draft is draft.decoder
    prompt = (ROOT / "scripts" / "generate_reference.py").read_text("utf-8")[:4000]
    options = gpt_bigcode.CompletionOptions(max_tokens=2)
    answer = model.complete(prompt, options).choices[0].text
    assert model.reused_tokens == 0
    again = gpt_bigcode.TextModel.load("pocket-coder", prefix_cache=str(tmp_path / "kept"))
    assert again.complete(prompt, options).choices[0].text == answer
    assert again.reused_tokens >= 256
    with pytest.raises(DraftMismatchError, match="tokenizer"):
        gpt_bigcode.TextModel.load(tiny_checkpoint, draft=draft)


def test_the_example_of_the_readme_runs_and_passes_a_strict_type_check(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (example,) = re.findall(
        r"^    from gpt_bigcode.*\n(?:(?:    .*)?\n)*?(?=\S)", readme, re.MULTILINE
    )
    program = tmp_path / "example.py"
    program.write_text(re.sub("^    ", "", example, flags=re.MULTILINE), "utf-8")
    places = {"MYPYPATH": f"{ROOT / 'model'}", "PYTHONPATH": f"{ROOT / 'model'}"}
    # What the library imports has no part in the types of its own names, and takes long to read.
    config = tmp_path / "mypy.ini"
    config.write_text(
        "[mypy]\nstrict = true\n[mypy-gpt_bigcode.*]\nfollow_imports = silent\n"
        "[mypy-torch.*,numpy.*,tokenizers.*,safetensors.*]\nfollow_imports = skip\n",
        "utf-8",
    )
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", f"--config-file={config}", "--cache-dir=/dev/null", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, **places},
    )
    assert checked.returncode == 0, checked.stdout
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, **places},
    )
    assert done.stdout.strip()
