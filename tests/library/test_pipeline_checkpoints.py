"""TextModel on real tiny checkpoints: kinds, damage, what does not fit."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from gpt_bigcode.completion.options import CompletionOptions
from gpt_bigcode.completion.text_model import TextModel
from gpt_bigcode.errors import (
    CheckpointMissingError,
    DeviceError,
    MemoryLimitError,
    NonFiniteError,
    TokenizerError,
)


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> TextModel:
    return TextModel.load(tiny_checkpoint)


def test_the_same_prompt_gives_the_same_text_cold_and_warm(
    model: TextModel, tiny_checkpoint: Path
) -> None:
    prompts = ["", "def area(width", "class Shape:\n", "\t\n  "]
    warm = [model.complete(prompt).choices for prompt in prompts]
    assert warm == [model.complete(prompt).choices for prompt in prompts]
    assert warm == [TextModel.load(tiny_checkpoint).complete(p).choices for p in prompts]


@pytest.mark.parametrize(
    "name", ["tiny_checkpoint", "tiny_santacoder_checkpoint", "tiny_plain_checkpoint"]
)
def test_every_kind_of_checkpoint_completes(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    model = TextModel.load(folder, device="cpu", precision="float32")
    for size in (0, 40, 4000):
        completion = model.complete("x" * size, CompletionOptions(max_tokens=200))
        assert completion.prompt_tokens + completion.choices[0].completion_tokens <= 128
        assert completion.model == folder.name
        assert completion.timings.load_seconds > 0
    for precision in ("bfloat16", "float16"):
        half = TextModel.load(folder, precision=precision)
        assert half.complete("def f(").choices[0].completion_tokens > 0


def test_damaged_weights_are_an_error(tiny_checkpoint: Path, tmp_path: Path) -> None:

    tensors = load_file(tiny_checkpoint / "model.safetensors")
    tensors["transformer.wte.weight"][7, 3] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((tiny_checkpoint / name).read_bytes())
    with pytest.raises(NonFiniteError):
        TextModel.load(tmp_path).complete("x")


def test_files_that_do_not_belong_together_are_refused(
    tiny_checkpoint: Path, tiny_santacoder_checkpoint: Path, tmp_path: Path
) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny_checkpoint / name).read_bytes())
    with pytest.raises(CheckpointMissingError, match=r"tokenizer\.json"):
        TextModel.load(tmp_path)
    other = (tiny_santacoder_checkpoint / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(other)
    with pytest.raises(TokenizerError, match="404"):
        TextModel.load(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"device": "gpu"},
        {"device": "cuda:x"},
        {"device": "cuda:99"},
        {"device": "cpu:0"},
        {"device": ""},
        {"precision": "float64"},
        {"precision": "int3"},
    ],
)
def test_a_device_or_precision_that_is_not_there_is_refused(
    tiny_checkpoint: Path, options: dict[str, str]
) -> None:
    with pytest.raises(DeviceError):
        TextModel.load(tiny_checkpoint, **options)  # type: ignore[arg-type]


def test_a_request_that_fits_in_no_memory_is_an_error(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = TextModel.load(tiny_checkpoint, precision="bfloat16")

    def refuse(*_args: object, **_kwargs: object) -> SimpleNamespace:
        return torch.empty(1 << 60)  # type: ignore[return-value]

    monkeypatch.setattr("gpt_bigcode.backends.torch_decoder.KeyValueCache", refuse)
    with pytest.raises(MemoryLimitError):
        model.complete("x")
