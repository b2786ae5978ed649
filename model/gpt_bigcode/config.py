"""GPTBigCodeConfig: what config.json says, checked before anything is built from it.

Field names, defaults and aliases are those of the reference implementation (transformers 5.23).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

from gpt_bigcode import reading
from gpt_bigcode.errors import (
    CheckpointMissingError,
    ConfigError,
    MissingFileError,
    UnreadableFileError,
    UnsupportedModelError,
)

MAX_CONFIG_BYTES = 1 << 20
ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]

# Spelling in config.json -> the function. The reference's tanh forms differ by <= 2.4e-7.
ACTIVATIONS = MappingProxyType(
    {
        "relu": "relu",
        "silu": "silu",
        "swish": "silu",
        "tanh": "tanh",
        "gelu": "gelu",
        "gelu_python": "gelu",
        "gelu_new": "gelu_tanh",
        "gelu_fast": "gelu_tanh",
        "gelu_pytorch_tanh": "gelu_tanh",
        "gelu_python_tanh": "gelu_tanh",
        "gelu_accurate": "gelu_tanh",
    }
)
_ALIASES = MappingProxyType(
    {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }
)
_ARCHITECTURES = frozenset(
    {
        "GPTBigCodeModel",
        "GPTBigCodeForCausalLM",
        "GPTBigCodeLMHeadModel",
        "GPTBigCodeForSequenceClassification",
        "GPTBigCodeForTokenClassification",
    }
)
# Numbers and switches in published files that change nothing in a forward pass: options of the
# BigCode fork's runner, of GPT-2's summary head, and of the reference's generation and training.
_HARMLESS = frozenset(
    {
        *("inference_runner", "validate_runner_input", "pre_allocate_kv_cache", "pad_key_length"),
        *("max_sequence_length", "max_batch_size", "runner_max_sequence_length"),
        *("summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type"),
        *("summary_use_proj", "type_vocab_size", "reorder_and_upcast_attn", "num_key_value_heads"),
        *(
            "return_dict",
            "output_attentions",
            "output_hidden_states",
            "torchscript",
            "use_bfloat16",
        ),
        *("is_decoder", "gradient_checkpointing", "sep_token_id", "decoder_start_token_id"),
        *("do_sample", "temperature", "top_k", "top_p", "num_beams", "max_length", "min_length"),
        *("repetition_penalty", "length_penalty", "no_repeat_ngram_size", "early_stopping"),
        *("num_return_sequences", "typical_p", "diversity_penalty", "num_beam_groups"),
        *("encoder_no_repeat_ngram_size", "forced_bos_token_id", "forced_eos_token_id"),
        *("output_scores", "return_dict_in_generate", "remove_invalid_values", "tf_legacy_loss"),
        *("chunk_size_feed_forward", "is_encoder_decoder", "unk_token_id", "mask_token_id"),
        *("_attn_implementation_autoset", "output_past", "max_new_tokens"),
    }
)
_SWITCHES = (
    "scale_attn_weights",
    "use_cache",
    "attention_softmax_in_fp32",
    "scale_attention_softmax_in_fp32",
    "multi_query",
    "add_cross_attention",
    "tie_word_embeddings",
)
# Names of code and places that are not ours to pass on; model_type is always written.
_DROPPED = frozenset({"auto_map", "trust_remote_code", "_name_or_path", "model_type"})


@dataclass(frozen=True, kw_only=True)
class GPTBigCodeConfig:
    """One model's shape and switches.

    `n_inner=None` means 4 * n_embd. `num_labels` follows `id2label` unless it is given. `extra`
    holds fields of config.json that change no number; `to_dict` writes them back.

    Raises:
        ConfigError: a value of the wrong type or out of bounds; the field is named.
        UnsupportedModelError: a field that changes numbers and is not implemented; it is named.
    """

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_pytorch_tanh"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True
    use_cache: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | tuple[int, ...] | None = 50256
    pad_token_id: int | None = None
    attention_softmax_in_fp32: bool = True
    scale_attention_softmax_in_fp32: bool = True
    multi_query: bool = True
    add_cross_attention: bool = False
    tie_word_embeddings: bool = True
    num_labels: int | None = None
    id2label: Mapping[int, str] | None = None
    problem_type: ProblemType | None = None
    classifier_dropout: float | None = None
    hidden_dropout: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_sizes()
        self._check_rates()
        self._check_switches()
        self._check_tokens()
        self._check_labels()
        if self.num_labels is None:
            object.__setattr__(self, "num_labels", len(self.id2label) if self.id2label else 2)

    def _check_sizes(self) -> None:
        _check_int("vocab_size", self.vocab_size, 1, 1 << 20)
        _check_int("n_positions", self.n_positions, 1, 1 << 20)
        _check_int("n_embd", self.n_embd, 1, 1 << 16)
        _check_int("n_layer", self.n_layer, 1, 512)
        _check_int("n_head", self.n_head, 1, 1 << 16)
        if self.n_inner is not None:
            _check_int("n_inner", self.n_inner, 1, 1 << 20)
        if self.n_embd % self.n_head:
            raise ConfigError(f"n_head: {self.n_head} does not divide n_embd {self.n_embd}")

    def _check_rates(self) -> None:
        _check_real("resid_pdrop", self.resid_pdrop, 1.0)
        _check_real("embd_pdrop", self.embd_pdrop, 1.0)
        _check_real("attn_pdrop", self.attn_pdrop, 1.0)
        _check_real("layer_norm_epsilon", self.layer_norm_epsilon, 1.0)
        _check_real("initializer_range", self.initializer_range, 1e3)
        if self.classifier_dropout is not None:
            _check_real("classifier_dropout", self.classifier_dropout, 1.0)
        if self.hidden_dropout is not None:
            _check_real("hidden_dropout", self.hidden_dropout, 1.0)

    def _check_switches(self) -> None:
        for name in _SWITCHES:
            value = getattr(self, name)
            if type(value) is not bool:
                raise ConfigError(f"{name}: expected true or false, got {_short(value)}")
        if not isinstance(self.activation_function, str) or (
            self.activation_function not in ACTIVATIONS
        ):
            raise UnsupportedModelError(
                f"activation_function: {_short(self.activation_function)} is not one of "
                f"{', '.join(sorted(ACTIVATIONS))}"
            )
        if self.add_cross_attention and self.multi_query:
            raise UnsupportedModelError(
                "add_cross_attention: not defined for multi_query (the reference refuses it too)"
            )

    def _check_tokens(self) -> None:
        ends = self.eos_token_id if isinstance(self.eos_token_id, tuple) else [self.eos_token_id]
        _check_token("bos_token_id", self.bos_token_id)
        _check_token("pad_token_id", self.pad_token_id)
        for token in ends:
            _check_token("eos_token_id", token, optional=self.eos_token_id is None)

    def _check_labels(self) -> None:
        if self.num_labels is not None:
            _check_int("num_labels", self.num_labels, 1, 1 << 16)
        labels = self.id2label
        if labels is not None and (not isinstance(labels, Mapping) or not labels):
            raise ConfigError(
                f"id2label: expected a mapping of numbers to names, got {_short(labels)}"
            )
        for index, label in (labels or {}).items():
            if type(index) is not int or index < 0 or not isinstance(label, str):
                raise ConfigError(f"id2label: expected numbers and names, got {_short(index)}")
        if self.problem_type is not None and self.problem_type not in get_args(ProblemType):
            raise ConfigError(
                f"problem_type: {_short(self.problem_type)} is not one of {get_args(ProblemType)}"
            )
        if not isinstance(self.extra, Mapping):
            raise ConfigError(f"extra: expected a mapping, got {_short(self.extra)}")

    @property
    def head_dim(self) -> int:
        """D, the size of one attention head."""
        return self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """K: 1 for multi-query attention, else H."""
        return 1 if self.multi_query else self.n_head

    @property
    def inner_dim(self) -> int:
        """Width of the feed-forward layers."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    @property
    def label_count(self) -> int:
        """Number of labels of a classification head."""
        return self.num_labels or 2

    @property
    def end_token_ids(self) -> tuple[int, ...]:
        """Ids that end a text, as far as the vocabulary has them."""
        ends = self.eos_token_id
        listed = ends if isinstance(ends, tuple) else () if ends is None else (ends,)
        return tuple(token for token in listed if token < self.vocab_size)

    def label(self, index: int) -> str:
        """The name of a label; the reference's LABEL_n where config.json has none."""
        return (self.id2label or {}).get(index, f"LABEL_{index}")

    def parameter_count(self) -> int:
        """Parameters of the trunk and the tied head."""
        width, inner, kv = self.n_embd, self.inner_dim, 2 * self.kv_heads * self.head_dim
        attention = width * (width + kv) + width + kv + width * width + width
        feed_forward = 2 * width * inner + inner + width
        cross = 4 * width * width + 6 * width if self.add_cross_attention else 0
        block = attention + feed_forward + 4 * width + cross
        head = 0 if self.tie_word_embeddings else self.vocab_size * width
        tables = (self.vocab_size + self.n_positions) * width
        return tables + self.n_layer * block + 2 * width + head

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the reference's config.json, aliases included.

        Raises:
            UnsupportedModelError: another model type or architecture, or an unknown field with a
                number that could change results; the field is named.
            ConfigError: as for the class.
        """
        _check_architecture(values)
        known = {spec.name for spec in fields(cls)} - {"extra"}
        chosen: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for key, value in values.items():
            name = _ALIASES.get(key, key)
            if name in known:
                if name in chosen and chosen[name] != value:
                    raise ConfigError(f"{key}: {value!r} contradicts {name}: {chosen[name]!r}")
                chosen[name] = _plain(name, value)
            elif key not in _DROPPED:
                _check_unknown(key, value)
                extra[key] = value
        config = cls(**chosen, extra=extra)
        _check_consistency(config)
        return config

    @classmethod
    def from_json_file(cls, path: Path) -> Self:
        """Read a config.json of at most 1 MiB.

        Raises:
            CheckpointMissingError: no such file.
            ConfigError: not a JSON object of numbers and text.
        """
        return cls.from_dict(read_json_object(path, MAX_CONFIG_BYTES))

    def to_dict(self) -> dict[str, Any]:
        """What config.json holds: every field, and the extra ones that were read."""
        values: dict[str, Any] = {"model_type": "gpt_bigcode", **self.extra}
        for spec in fields(self):
            value = getattr(self, spec.name)
            if spec.name == "extra" or (value is None and spec.default is None):
                continue
            values[spec.name] = list(value) if isinstance(value, tuple) else value
        # The reference derives num_labels from id2label and refuses to be given both.
        values.pop("num_labels", None)
        labels = {str(index): self.label(index) for index in range(self.label_count)}
        if self.id2label or self.label_count != 2:
            values["id2label"] = labels
            values["label2id"] = {name: int(index) for index, name in labels.items()}
        return values


def read_json_object(path: Path, max_bytes: int) -> dict[str, Any]:
    """Read a JSON object of a checkpoint; see `reading.read_json_object`.

    Raises:
        CheckpointMissingError: no such file.
        ConfigError: everything else that is wrong with it.
    """
    try:
        return reading.read_json_object(path, max_bytes=max_bytes)
    except MissingFileError:
        raise CheckpointMissingError(f"{path}: no such file") from None
    except UnreadableFileError as error:
        raise ConfigError(f"{path.name[:80]}: {error.reason}") from None


def _plain(name: str, value: Any) -> Any:
    """JSON's lists and string keys -> the tuple and integer keys that the fields hold."""
    if name == "eos_token_id" and isinstance(value, list):
        return tuple(value)
    if name == "id2label" and isinstance(value, dict):
        try:
            return {int(index): label for index, label in value.items()}
        except ValueError:
            raise ConfigError(f"id2label: keys must be numbers, got {list(value)[:3]}") from None
    return value


def _check_architecture(values: Mapping[str, Any]) -> None:
    model_type = values.get("model_type", "gpt_bigcode")
    if model_type != "gpt_bigcode":
        raise UnsupportedModelError(f"model_type: {str(model_type)[:80]!r} is not 'gpt_bigcode'")
    architectures = values.get("architectures") or []
    for name in architectures if isinstance(architectures, list) else [architectures]:
        if not isinstance(name, str) or name not in _ARCHITECTURES:
            raise UnsupportedModelError(f"architectures: {str(name)[:80]!r} is not GPTBigCode")


def _check_unknown(key: str, value: Any) -> None:
    """A number or a switch that is on may change results: refuse it unless it is known not to.

    The weights of a model that was quantized by another tool are in a layout of that tool.
    """
    if key == "quantization_config" and value:
        method = value.get("quant_method") if isinstance(value, dict) else None
        raise UnsupportedModelError(
            f"{key}: weights quantized by {str(method or 'another tool')[:40]} are not supported",
            hint="use the model that they were made from, with --precision int8 or int4",
        )
    if key in _HARMLESS or value is None or value is False:
        return
    if isinstance(value, (bool, int, float)):
        raise UnsupportedModelError(f"{key[:80]}: {value!r} is not implemented")


def _check_consistency(config: GPTBigCodeConfig) -> None:
    """num_key_value_heads is derived by the reference; a file may repeat it, not contradict it."""
    heads = config.extra.get("num_key_value_heads")
    if heads is not None and heads != config.kv_heads:
        raise UnsupportedModelError(
            f"num_key_value_heads: {_short(heads)} contradicts multi_query {config.multi_query}"
        )


def _check_int(name: str, value: Any, low: int, high: int) -> None:
    if type(value) is not int:
        raise ConfigError(f"{name}: expected an integer, got {_short(value)}")
    if not low <= value <= high:
        raise ConfigError(f"{name}: {_short(value)} is not in {low}..{high}")


def _check_real(name: str, value: Any, high: float) -> None:
    if type(value) not in (int, float):
        raise ConfigError(f"{name}: expected a number, got {_short(value)}")
    if not 0.0 <= value <= high:
        raise ConfigError(f"{name}: {_short(value)} is not in 0.0..{high}")


def _check_token(name: str, value: Any, *, optional: bool = True) -> None:
    if value is None and optional:
        return
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ConfigError(f"{name}: expected a token id, got {_short(value)}")


def _short(value: Any) -> str:
    return repr(value)[:80]
