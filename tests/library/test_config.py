"""config.json: the reference's fields and defaults, and nothing impossible gets past it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from gpt_bigcode.config import ACTIVATIONS, GPTBigCodeConfig
from gpt_bigcode.errors import CheckpointMissingError, ConfigError, UnsupportedModelError
from reference_models import make_ours, tiny_fields

# Fields of the reference that are about its own program, and no number of ours.
NOT_OURS = {
    *("transformers_version", "architectures", "output_hidden_states", "return_dict", "dtype"),
    *("chunk_size_feed_forward", "is_encoder_decoder", "label2id", "_name_or_path", "model_type"),
    *("output_attentions", "num_key_value_heads"),
}
# As published with bigcode/starcoder, bigcode/gpt_bigcode-santacoder and the reference's own tests.
PUBLISHED: dict[str, dict[str, Any]] = {
    "starcoder": {
        "activation_function": "gelu",
        "architectures": ["GPTBigCodeForCausalLM"],
        "attention_softmax_in_fp32": True,
        "attn_pdrop": 0.1,
        "bos_token_id": 0,
        "embd_pdrop": 0.1,
        "eos_token_id": 0,
        "inference_runner": 0,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "max_batch_size": None,
        "max_sequence_length": None,
        "model_type": "gpt_bigcode",
        "multi_query": True,
        "n_embd": 6144,
        "n_head": 48,
        "n_inner": 24576,
        "n_layer": 40,
        "n_positions": 8192,
        "pad_key_length": True,
        "pre_allocate_kv_cache": False,
        "resid_pdrop": 0.1,
        "scale_attention_softmax_in_fp32": True,
        "scale_attn_weights": True,
        "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "transformers_version": "4.28.1",
        "use_cache": True,
        "validate_runner_input": True,
        "vocab_size": 49152,
    },
    "santacoder": {
        "model_type": "gpt_bigcode",
        "n_embd": 2048,
        "n_head": 16,
        "n_layer": 24,
        "n_positions": 2048,
        "vocab_size": 49280,
        "bos_token_id": 49152,
        "eos_token_id": 49152,
        "runner_max_sequence_length": None,
    },
    "tiny random": {
        "model_type": "gpt_bigcode",
        "n_embd": 32,
        "n_head": 4,
        "n_inner": 37,
        "activation_function": "relu",
        "attention_softmax_in_fp32": False,
        "scale_attention_softmax_in_fp32": False,
        "type_vocab_size": 16,
        "reorder_and_upcast_attn": False,
    },
    "saved by version 4.47": {
        "model_type": "gpt_bigcode",
        "_attn_implementation_autoset": True,
        "torch_dtype": "bfloat16",
    },
}
PARAMETERS = {
    "tiny_starcoder_py": ((20, 12, 768, 8192, 49152), 164_144_128),
    "gpt_bigcode-santacoder": ((24, 16, 2048, 2048, 49280), 1_124_886_528),
    "starcoderbase-3b": ((36, 22, 2816, 8192, 49152), 3_043_311_104),
    "starcoder": ((40, 48, 6144, 8192, 49152), 15_517_456_384),
    "starchat-beta": ((40, 48, 6144, 8192, 49156), 15_517_480_960),
    "granite-34b-code": ((88, 48, 6144, 8192, 49152), 33_715_603_456),
}
SIZES = ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size")


def test_every_field_and_default_is_the_reference_s() -> None:
    ours, theirs = GPTBigCodeConfig(), transformers.GPTBigCodeConfig()
    for name in theirs.to_dict().keys() - NOT_OURS - {"id2label"}:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert (ours.num_labels, ours.label_count) == (theirs.num_labels, 2)
    assert {index: ours.label(index) for index in range(2)} == theirs.id2label
    assert ours.kv_heads == theirs.num_key_value_heads == 1
    assert ours.inner_dim == 4 * 768
    assert ours.head_dim == 64


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_read_and_written_back(name: str) -> None:
    config = GPTBigCodeConfig.from_dict(PUBLISHED[name])
    written = config.to_dict()
    assert GPTBigCodeConfig.from_dict(json.loads(json.dumps(written))) == config
    for key, value in PUBLISHED[name].items():
        assert written.get(key) == value, key


@pytest.mark.parametrize("name", PARAMETERS)
def test_number_of_parameters(name: str) -> None:
    sizes, expected = PARAMETERS[name]
    config = GPTBigCodeConfig.from_dict(dict(zip(SIZES, sizes, strict=True)))
    assert config.parameter_count() == expected


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"multi_query": False},
        {"multi_query": False, "add_cross_attention": True},
        {"tie_word_embeddings": False},
        {"n_inner": None},
    ],
    ids=str,
)
def test_number_of_parameters_is_the_model_s(changes: dict[str, Any]) -> None:
    model = make_ours(tiny_fields(**changes))
    assert model.config.parameter_count() == sum(value.numel() for value in model.parameters())


def test_aliases() -> None:
    names: dict[str, Any] = {
        "hidden_size": 48,
        "max_position_embeddings": 99,
        "num_attention_heads": 6,
        "num_hidden_layers": 3,
    }
    config = GPTBigCodeConfig.from_dict(names)
    theirs = transformers.GPTBigCodeConfig(**names)
    for name in ("n_embd", "n_positions", "n_head", "n_layer"):
        assert getattr(config, name) == getattr(theirs, name)
    assert GPTBigCodeConfig.from_dict({"n_embd": 48, "hidden_size": 48}).n_embd == 48
    with pytest.raises(ConfigError, match="hidden_size: 48 contradicts n_embd: 96"):
        GPTBigCodeConfig.from_dict({"n_embd": 96, "hidden_size": 48})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"num_labels": 1},
        {"num_labels": 5},
        {"id2label": {"0": "a", "1": "b", "2": "c"}},
        {"id2label": {"0": "a", "1": "b"}, "num_labels": 2},
        {"id2label": {"0": "a"}},
    ],
    ids=str,
)
def test_labels_are_the_reference_s(fields: dict[str, Any], tmp_path: Path) -> None:
    ours = GPTBigCodeConfig.from_dict(fields)
    theirs = transformers.GPTBigCodeConfig(**fields)
    assert ours.label_count == theirs.num_labels
    assert {index: ours.label(index) for index in range(ours.label_count)} == theirs.id2label
    again = read_by_reference(ours, tmp_path)
    assert (again.num_labels, again.id2label) == (theirs.num_labels, theirs.id2label)
    assert again.label2id == {name: index for index, name in theirs.id2label.items()}


def test_a_number_of_labels_beats_their_names() -> None:
    config = GPTBigCodeConfig.from_dict({"id2label": {"0": "a", "1": "b"}, "num_labels": 5})
    assert config.label_count == 5
    assert [config.label(index) for index in (0, 1, 4)] == ["a", "b", "LABEL_4"]


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_what_we_write_is_what_the_reference_reads(activation: str, tmp_path: Path) -> None:
    fields = tiny_fields(
        activation_function=activation,
        multi_query=False,
        pad_token_id=3,
        eos_token_id=[4, 5],
        bos_token_id=None,
        id2label={"0": "x", "1": "y", "2": "z"},
        problem_type="multi_label_classification",
        classifier_dropout=0.3,
        scale_attn_weights=False,
        attention_softmax_in_fp32=False,
    )
    ours = GPTBigCodeConfig.from_dict(fields)
    theirs = read_by_reference(ours, tmp_path)
    for name in fields.keys() - {"id2label"}:
        assert getattr(theirs, name) == fields[name], name
    theirs.save_pretrained(tmp_path)
    again = GPTBigCodeConfig.from_json_file(tmp_path / "config.json")
    for name in fields.keys() - {"id2label", "eos_token_id"}:
        assert getattr(again, name) == fields[name], name
    assert again.eos_token_id == again.end_token_ids == (4, 5)
    assert again.label(2) == "z"


def read_by_reference(config: GPTBigCodeConfig, folder: Path) -> Any:
    (folder / "config.json").write_text(json.dumps(config.to_dict()), encoding="utf-8")
    return transformers.AutoConfig.from_pretrained(folder)


def test_end_tokens_beyond_the_vocabulary_are_none() -> None:
    assert GPTBigCodeConfig(vocab_size=49152).end_token_ids == ()
    assert GPTBigCodeConfig(vocab_size=50257).end_token_ids == (50256,)
    assert GPTBigCodeConfig(eos_token_id=None).end_token_ids == ()


HUGE = 10**400
HOSTILE: dict[str, list[Any]] = {
    "n_layer": [10**9, 0, -1, 513, 2.0, "24", None, True, float("nan"), [2], {}, HUGE],
    "n_embd": [10**9, 0, -24, 24.0, "24", None, True, 65537],
    "n_head": [0, -3, 5, 10**9, 3.0, "3", None, True],
    "n_inner": [0, -1, 2**21, 4.5, "37", True],
    "n_positions": [0, -1, 2**21, 64.0, "64", None, True],
    "vocab_size": [10**10, 0, -1, 53.0, "53", None, True],
    "layer_norm_epsilon": [-1e-5, 2.0, float("nan"), float("inf"), "1e-5", None, True, HUGE, -HUGE],
    "initializer_range": [-0.1, float("inf"), "x", None, True],
    "resid_pdrop": [-0.1, 1.1, float("nan"), "0.1", None, True],
    "embd_pdrop": [-0.1, 1.1, None, False],
    "attn_pdrop": [-0.1, 1.1, None, [0.1]],
    "classifier_dropout": [-0.1, 1.1, "0.1", True],
    "activation_function": ["nope", "quick_gelu", "", None, 1, ["gelu"], {"a": 1}],
    "scale_attn_weights": [1, 0, None, "true", []],
    "multi_query": [1, 0, None, "true", {}],
    "use_cache": [1, None, "no"],
    "attention_softmax_in_fp32": [1, None],
    "scale_attention_softmax_in_fp32": [0, "yes"],
    "tie_word_embeddings": [1, None],
    "bos_token_id": [-1, 1.0, "0", True, [0], 2**40],
    "eos_token_id": [-1, 1.0, "0", True, [0, -1], [[0]], [True], {}, 2**40],
    "pad_token_id": [-1, 1.5, "pad", True],
    "num_labels": [0, -1, 2.0, "2", True, 10**9],
    "id2label": [[], "ab", 3, {}, {"a": "x"}, {"-1": "x"}, {"0": 1}, {"0": None}],
    "problem_type": ["guess", 1, ["regression"], {}],
}


@pytest.mark.parametrize("field", HOSTILE)
def test_hostile_values_are_refused_by_name(field: str) -> None:
    for value in HOSTILE[field]:
        with pytest.raises(ConfigError, match=rf"^{field}: ") as caught:
            GPTBigCodeConfig.from_dict(tiny_fields(**{field: value}))
        assert len(str(caught.value)) < 400


def test_bounds_include_their_ends() -> None:
    GPTBigCodeConfig(n_layer=512, n_embd=65536, n_head=65536, n_positions=2**20, vocab_size=2**20)
    GPTBigCodeConfig(n_layer=1, n_embd=1, n_head=1, n_positions=1, vocab_size=1, n_inner=1)
    assert (
        GPTBigCodeConfig(n_head=1, n_embd=768, attn_pdrop=1, layer_norm_epsilon=0).attn_pdrop == 1
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"add_cross_attention": True},
        {"scale_attn_by_inverse_layer_idx": True},
        {"rotary_dim": 32},
        {"attention_window": 4.5},
        {"alibi": True},
        {"num_key_value_heads": 2},
        {"num_key_value_heads": 3, "multi_query": True},
        {"num_key_value_heads": 1, "multi_query": False},
        {"model_type": "gpt2"},
        {"model_type": None},
        {"model_type": ["gpt_bigcode"]},
        {"architectures": ["EvilForCausalLM"]},
        {"architectures": "EvilForCausalLM"},
        {"architectures": [["GPTBigCodeForCausalLM"]]},
        {"architectures": {"GPTBigCodeForCausalLM": 1}},
        {"architectures": [{}]},
        {"architectures": 7},
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {"quantization_config": "awq"},
    ],
    ids=str,
)
def test_what_is_not_implemented_is_refused_by_name(fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedModelError, match=next(iter(fields))):
        GPTBigCodeConfig.from_dict(tiny_fields(**fields))


def test_what_changes_nothing_is_kept() -> None:
    harmless = {
        "summary_type": "cls_index",
        "task_specific_params": {"text-generation": {"max_length": 50}},
        "a_note": "hello",
        "a_switch_that_is_off": False,
        "nothing": None,
        "num_key_value_heads": 1,
    }
    config = GPTBigCodeConfig.from_dict(tiny_fields(**harmless))
    assert harmless.items() <= config.to_dict().items()
    assert GPTBigCodeConfig.from_dict(config.to_dict()) == config


def test_code_that_a_file_names_is_neither_run_nor_passed_on() -> None:
    hostile = {"auto_map": {"AutoModel": "modeling_evil.EvilModel"}, "_name_or_path": "../../etc"}
    config = GPTBigCodeConfig.from_dict(tiny_fields(**hostile))
    assert "auto_map" not in config.to_dict()


FILES: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"model_type: gpt_bigcode",
    "an array": b"[]",
    "a number": b"1",
    "null": b"null",
    "cut short": b'{"n_layer": 2',
    "NaN": b'{"layer_norm_epsilon": NaN}',
    "Infinity": b'{"n_layer": -Infinity}',
    "a number too large for a float": b'{"layer_norm_epsilon": 1e999}',
    "NaN where it would do no harm": b'{"temperature": NaN}',
    "infinity where it would do no harm": b'{"temperature": -1e999}',
    "an integer of 400 digits": b'{"layer_norm_epsilon": 1' + b"0" * 400 + b"}",
    "an integer of 5000 digits": b'{"n_layer": 1' + b"0" * 5000 + b"}",
    "deep": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "NUL": b'{"n_layer": 2}\x00',
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"n_layer": 2}'.encode("utf-16"),
    "too large": b'{"a": "' + b"x" * (1 << 20) + b'"}',
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_configuration(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(FILES[name])
    with pytest.raises(ConfigError) as caught:
        GPTBigCodeConfig.from_json_file(path)
    assert len(str(caught.value)) < 400


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'\xef\xbb\xbf{"n_layer": 3}')
    assert GPTBigCodeConfig.from_json_file(path).n_layer == 3


def test_of_equal_keys_the_last_counts_as_in_the_reference(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"model_type": "gpt_bigcode", "n_layer": 3, "n_layer": 5}')
    assert GPTBigCodeConfig.from_json_file(path).n_layer == 5
    assert transformers.AutoConfig.from_pretrained(tmp_path).n_layer == 5


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too long"):
        GPTBigCodeConfig.from_json_file(tmp_path / ("x" * 300))


@pytest.mark.parametrize("make", [lambda _path: None, lambda path: path.symlink_to("nowhere")])
def test_there_is_no_file(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    make(path)
    with pytest.raises(CheckpointMissingError, match=r"config\.json"):
        GPTBigCodeConfig.from_json_file(path)
