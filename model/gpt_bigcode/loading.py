"""Loads a model: its folder, configuration and tokenizer, and the engine that computes it best.

NumPy computes a small checkpoint on the processor, PyTorch all else. PyTorch is imported only then:
that alone takes longer than completing 64 tokens with a small checkpoint in NumPy.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar, Unpack, cast

from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.checkpoint.tensor_index import (
    CONFIG_FILE,
    Task,
    require_head,
    weight_files,
    weights_id,
)
from gpt_bigcode.config import GPTBigCodeConfig, read_json_object
from gpt_bigcode.errors import (
    CheckpointMissingError,
    ConfigError,
    MemoryLimitError,
    UnreadableFileError,
)
from gpt_bigcode.hardware import (
    QUANTIZED,
    EngineOptions,
    Job,
    LoadingPolicy,
    choose_threads,
    row_threads,
)
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

if TYPE_CHECKING:
    from gpt_bigcode.backends.interfaces import Decoder, Labeler, Scorer
    from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM

TOKENIZER_FILE = "tokenizer.json"
GENERATION_FILE = "generation_config.json"
_MAX_GENERATION_BYTES = 1 << 20
BUILT_IN_PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        "pocket-coder": "pocket_coder",
        "pocket-languages": "pocket_languages",
        "pocket-secrets": "pocket_secrets",
    }
)
"""The package of each built-in model; an installation need not have all of them."""

# Above this size the faster kernels of PyTorch make up for the time that its import takes.
MAX_INSTANT_BYTES = 64 * 10**6

Engine = TypeVar("Engine")


class LoadOptions(EngineOptions, total=False):
    """What `TextModel.load` and the like take besides the model.

    Attributes:
        name: what results call the model; default: its built-in name or its folder's.
        revision: the commit that its files are of, for results.
    """

    name: str | None
    revision: str | None


@dataclass(frozen=True, kw_only=True)
class LoadedParts(Generic[Engine]):
    """The parts of a model.

    Attributes:
        name: see `LoadOptions`, like revision.
        folder: where its files are.
        config: what config.json says.
        tokenizer: fits the configuration.
        engine: what computes.
        seconds: what loading all this took.
    """

    name: str
    revision: str | None
    folder: Path
    config: GPTBigCodeConfig
    tokenizer: CodeTokenizer
    engine: Engine
    seconds: float


def load_parts(
    model: str | os.PathLike[str],
    open_engine: Callable[..., Engine],
    options: LoadOptions,
) -> LoadedParts[Engine]:
    """Read config.json, tokenizer.json and the weights of a model.

    Args:
        model: the name of a built-in model, or a folder.
        open_engine: takes the folder, the configuration and `EngineOptions`; such as
            `open_decoder`.
        options: see `LoadOptions`.

    Raises:
        CheckpointMissingError: no such model.
        ConfigError, CheckpointError, TokenizerError: its files.
        DeviceError: a device or precision that is not available.
        OptionError: fewer than one thread.
        MemoryLimitError: the weights do not fit.
    """
    started = perf_counter()
    folder = model_folder(model)
    config = GPTBigCodeConfig.from_json_file(folder / CONFIG_FILE)
    tokenizer = CodeTokenizer.from_file(folder / TOKENIZER_FILE)
    tokenizer.validate_against(config)
    engine_options = {**options}
    name, revision = engine_options.pop("name", None), engine_options.pop("revision", None)
    engine = open_engine(folder, config, **engine_options)
    return LoadedParts(
        name=str(name or (model if _is_built_in(model) else folder.resolve().name)),
        revision=None if revision is None else str(revision),
        folder=folder,
        config=config,
        tokenizer=tokenizer,
        engine=engine,
        seconds=perf_counter() - started,
    )


def model_folder(model: str | os.PathLike[str]) -> Path:
    """The folder of a built-in model, or the folder that is named.

    Raises:
        CheckpointMissingError: the built-in model is not installed.
    """
    if not _is_built_in(model):
        return Path(model)
    spec = find_spec(BUILT_IN_PACKAGES[str(model)])
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    for place in map(Path, places):
        if (place / CONFIG_FILE).is_file():
            return place
    raise CheckpointMissingError(f"{model}: this installation came without this built-in model")


def _is_built_in(model: str | os.PathLike[str]) -> bool:
    """A folder of the same name is meant by a path with a slash, or by a `Path`."""
    return isinstance(model, str) and model in BUILT_IN_PACKAGES


def open_decoder(
    directory: Path, config: GPTBigCodeConfig, **options: Unpack[EngineOptions]
) -> "Decoder":
    """Load the weights of a language model where they are computed best.

    Args:
        directory: the checkpoint.
        config: its configuration.
        options: see `EngineOptions`.

    Raises:
        CheckpointError: the directory's files.
        DeviceError: a device or precision that is not available.
        OptionError: fewer than one thread.
        MemoryLimitError: the weights do not fit.
    """
    threads, policy = options.get("threads"), options.get("policy")
    device, precision = options.get("device", "auto"), options.get("precision", "auto")
    choose_threads(threads)
    policy = policy or LoadingPolicy()
    if is_instant(directory, config, device=device, precision=precision):
        policy.detail("float32 in NumPy: a small checkpoint, PyTorch would take longer to start")
        try:
            return NumpyDecoder.load(directory, threads=row_threads(threads))
        except MemoryError:
            raise MemoryLimitError("not enough memory for the model's weights") from None
    with _opening_kept_weights(directory, device, precision, policy):
        from gpt_bigcode.backends.devices import set_threads
        from gpt_bigcode.backends.torch_decoder import TorchDecoder
        from gpt_bigcode.backends.torch_loading import load_computable

        set_threads(threads)
        model = load_computable(
            directory, config, device=device, precision=precision, policy=policy
        )
    language_model = cast("GPTBigCodeForCausalLM", model)
    if policy.cuda_graphs and next(model.parameters()).device.type == "cuda":
        from gpt_bigcode.backends.cuda_graph import GraphedDecoder

        return GraphedDecoder(language_model, detail=policy.detail)
    return TorchDecoder(language_model)


def _opening_kept_weights(
    directory: Path, device: str, precision: str, policy: LoadingPolicy
) -> AbstractContextManager[None]:
    """Verify kept int8 or int4 weights, where they are likely used, while PyTorch is imported."""
    generates = precision == "auto" and policy.job is Job.GENERATION
    if policy.cache_folder is None or device not in ("auto", "cpu"):
        return nullcontext()
    if not generates and precision not in QUANTIZED:
        return nullcontext()
    try:
        weights = weights_id(directory)
    except UnreadableFileError:
        return nullcontext()
    from gpt_bigcode.quantization.cache_folder import quantized_cache

    return quantized_cache(policy.cache_folder).opening(f"{weights}-")


def is_instant(directory: Path, config: GPTBigCodeConfig, *, device: str, precision: str) -> bool:
    """Whether NumPy computes it: a small checkpoint, on the processor, in float32.

    Raises:
        CheckpointError: there are no weights to tell the size of.
    """
    plain = device in ("auto", "cpu") and precision in ("auto", "float32")
    return plain and _is_small(directory, config)


def _is_small(directory: Path, config: GPTBigCodeConfig) -> bool:
    size = sum(path.stat().st_size for path in weight_files(directory))
    return size <= MAX_INSTANT_BYTES and not config.add_cross_attention


def open_scorer(
    directory: Path, config: GPTBigCodeConfig, **options: Unpack[EngineOptions]
) -> "Scorer":
    """Load the weights of a language model; arguments and errors are those of `open_decoder`."""
    threads, policy = options.get("threads"), options.get("policy") or LoadingPolicy()
    options["policy"] = replace(policy, job=Job.SCORING)
    decoder = open_decoder(directory, config, **options)
    if isinstance(decoder, NumpyDecoder):
        from gpt_bigcode.backends.numpy_heads import NumpyScorer

        return NumpyScorer(decoder, threads=row_threads(threads))
    from gpt_bigcode.backends.torch_heads import TorchScorer

    return TorchScorer.of(decoder)


def open_labeler(
    directory: Path, config: GPTBigCodeConfig, *, task: Task, **options: Unpack[EngineOptions]
) -> "Labeler":
    """Load the weights of a classifier where they are computed best.

    Args:
        directory: the checkpoint.
        config: its configuration.
        task: SEQUENCE_CLASSIFICATION or TOKEN_CLASSIFICATION.
        options: see `EngineOptions`.

    Raises:
        CheckpointError: the directory's files, or a checkpoint with another head.
        DeviceError, MemoryLimitError, OptionError: as for `open_decoder`.
    """
    threads = options.get("threads")
    device, precision = options.get("device", "auto"), options.get("precision", "auto")
    require_head(directory, task)
    choose_threads(threads)
    if is_instant(directory, config, device=device, precision=precision):
        from gpt_bigcode.backends.numpy_heads import NumpyLabeler

        try:
            decoder = NumpyDecoder.load(directory, task=task)
            return NumpyLabeler(decoder, task, threads=row_threads(threads))
        except MemoryError:
            raise MemoryLimitError("not enough memory for the model's weights") from None
    from gpt_bigcode.backends.torch_heads import TorchLabeler

    return TorchLabeler.load(directory, task=task, **options)


def end_token_ids(
    tokenizer: CodeTokenizer, config: GPTBigCodeConfig, directory: Path
) -> frozenset[int]:
    """Every control token, and the `eos_token_id` of config.json and generation_config.json.

    A fine-tuned model may end its answers with a token that the tokenizer does not mark as special.
    Ids that the vocabulary lacks are left out: files of the family often keep GPT-2's 50256.

    Raises:
        ConfigError: generation_config.json is damaged, or an end token is not a token id.
    """
    named = {*config.end_token_ids, *_generation_ids(directory)}
    return tokenizer.control_ids | {token for token in named if tokenizer.has(token)}


def _generation_ids(directory: Path) -> tuple[int, ...]:
    try:
        values = read_json_object(directory / GENERATION_FILE, _MAX_GENERATION_BYTES)
    except CheckpointMissingError:
        return ()
    ends = values.get("eos_token_id")
    listed = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if not all(type(token) is int for token in listed):
        raise ConfigError(f"{GENERATION_FILE}: eos_token_id: expected token ids")
    return tuple(listed)
