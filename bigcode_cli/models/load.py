"""Turns the shared options into a loaded model and its `CompletionOptions`.

Modules that import NumPy or PyTorch are imported inside functions.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.options import (
    ComputeOptions,
    GenerationOptions,
    KeptModelOptions,
    ModelOptions,
)
from bigcode_cli.framework.output import Notes, safe
from bigcode_cli.framework.process_clock import seconds_since_start
from bigcode_cli.framework.settings import cache_folder
from bigcode_cli.models.resolve import BUILT_IN, Found

if TYPE_CHECKING:
    from collections.abc import Callable

    from bigcode_cli.io.text_input import InputText
    from gpt_bigcode.completion.options import CompletionOptions, ContextFile, InfillOptions
    from gpt_bigcode.completion.text_model import TextModel
    from gpt_bigcode.hardware import LoadingPolicy
    from gpt_bigcode.labeling.description import ClassifierDescription
    from gpt_bigcode.labeling.text_classifier import TextClassifier
    from gpt_bigcode.labeling.text_tagger import TextTagger
    from gpt_bigcode.scoring.text_scorer import TextScorer

    Model = TypeVar("Model", TextModel, TextScorer, TextClassifier, TextTagger)

AnyOptions = TypeVar("AnyOptions", bound="CompletionOptions")


def set_numpy_threads(threads: int | None) -> None:
    """Prepare the import of NumPy: how many threads its BLAS uses, by default one.

    A small model's products are too short to share: two threads that wait for each other took
    twice as long on an idle machine, and ten times as long on a busy one.

    Raises:
        Failure: `memory`: OpenBLAS would not find room and exit with a status of its own.
    """
    _require_address_space()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads or 1))


def _require_address_space() -> None:
    """Check that a limit on address space leaves room for NumPy and a small model."""
    import mmap
    import resource

    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        return
    try:
        mmap.mmap(-1, _ADDRESS_SPACE_BYTES).close()
    except OSError:
        needed = f"{_ADDRESS_SPACE_BYTES >> 20} MiB more"
        message = f"the address-space limit is too low: at least {needed} are needed"
        raise Failure("memory", message, hint="raise the limit: ulimit -v") from None


def load(
    open_model: "Callable[..., Model]",
    found: Found,
    options: ModelOptions | ComputeOptions,
    notes: Notes,
) -> "Model":
    """Load a model that was found, as the options say.

    Args:
        open_model: such as `TextScorer.load`.
        found: which model.
        options: where and how it is computed.
        notes: told the load time, and what was not available.
    """
    model = open_model(
        found.directory,
        name=found.name,
        revision=found.revision,
        device=options.device,
        precision=options.precision,
        threads=options.threads,
        policy=_policy(options, notes),
    )
    if found.note is not None:
        notes.note(found.note)
    notes.detail(f"model {found.name} from {found.directory}, {model.load_seconds:.2f} s to load")
    return model


def load_text_model(
    found: Found,
    options: KeptModelOptions,
    notes: Notes,
    *,
    draft: "TextModel | None" = None,
    prefix_cache: Path | None = None,
) -> "TextModel":
    """Load a model to complete text, with its draft model and its prefix cache."""
    if options.model is None:
        introduce(BUILT_IN, notes)
    from gpt_bigcode.completion.text_model import TextModel

    with _generator_errors(found):
        open_model = partial(TextModel.load, draft=draft, prefix_cache=prefix_cache)
        return load(open_model, found, options, notes)


def load_text_scorer(found: Found, options: KeptModelOptions, notes: Notes) -> "TextScorer":
    """Load a model to score text."""
    if options.model is None:
        introduce(BUILT_IN, notes)
    from gpt_bigcode.scoring.text_scorer import TextScorer

    return load(TextScorer.load, found, options, notes)


def load_text_classifier(found: Found, options: ComputeOptions, notes: Notes) -> "TextClassifier":
    """Load a model to classify texts.

    Raises:
        Failure: `model-mismatch`: it is not a classifier of whole texts, or its parts do not fit.
    """
    from gpt_bigcode.labeling.text_classifier import TextClassifier

    with _classifier_errors(found):
        return load(TextClassifier.load, found, options, notes)


def _policy(options: ModelOptions | ComputeOptions, notes: Notes) -> "LoadingPolicy":
    from gpt_bigcode.hardware import LoadingPolicy

    folder = cache_folder("weights")
    wanted = isinstance(options, KeptModelOptions) and not options.no_weights_cache
    return LoadingPolicy(
        cache_folder=folder if wanted and folder.is_absolute() else None,
        detail=notes.detail,
        note=notes.note,
    )


def describe_classifier(found: Found) -> "ClassifierDescription":
    """Describe a classifier without loading it.

    Raises:
        Failure: `model-mismatch`: it is not a classifier of whole texts.
    """
    from gpt_bigcode.labeling.description import describe

    with _classifier_errors(found):
        return describe(found.directory)


@contextmanager
def _generator_errors(found: Found) -> Iterator[None]:
    """Explain what a model with another head is for, instead of listing unexpected tensors."""
    from gpt_bigcode.errors import CheckpointMismatchError

    try:
        yield
    except CheckpointMismatchError as error:
        from bigcode_cli.models.describe import describe

        tasks = describe(found.directory).tasks
        if not tasks or "complete" in tasks:
            raise
        why = f"{found.name}: is a model for bigcode {tasks[0]}; it cannot generate text"
        hint = "bigcode models list shows which models can complete"
        raise Failure(error.slug, why, hint=hint) from None


@contextmanager
def _classifier_errors(found: Found) -> Iterator[None]:
    from gpt_bigcode.errors import CheckpointMismatchError

    try:
        yield
    except CheckpointMismatchError as error:
        hint = error.hint or "bigcode models list shows which models can classify"
        raise Failure(error.slug, f"{found.name}: {error}", hint=hint) from None


def completion_options(options: GenerationOptions, source: "InputText") -> "CompletionOptions":
    """Return the library's options for a command line; reads the --context files."""
    from gpt_bigcode.completion.options import CompletionOptions

    return CompletionOptions(**_generation_values(options, source))


def infill_options(
    options: GenerationOptions, source: "InputText", *, order: str | None, trim: bool
) -> "InfillOptions":
    """The same for a gap."""
    from gpt_bigcode.completion.options import InfillOptions

    return InfillOptions(**_generation_values(options, source), order=order, trim=trim)


def _generation_values(options: GenerationOptions, source: "InputText") -> dict[str, Any]:
    files = _context_files(options.context or [])
    return {
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "top_k": options.top_k,
        "top_p": options.top_p,
        "min_p": options.min_p,
        "repetition_penalty": options.repetition_penalty,
        "seed": options.seed,
        "stop": tuple(options.stop or ()),
        "until": options.until,
        "time_budget_seconds": options.time_budget,
        "samples": options.samples,
        "min_confidence": options.min_confidence,
        "truncate": not options.no_truncate,
        "heal": not options.no_healing,
        "speculate": not options.no_speculation,
        "context_files": files,
        "path": _shown_path(source.path) if files and source.path is not None else None,
    }


def _context_files(paths: Sequence[Path]) -> "tuple[ContextFile, ...]":
    if not paths:
        return ()
    from bigcode_cli.io.text_input import read_context_file
    from gpt_bigcode.completion.options import ContextFile

    return tuple(ContextFile(_shown_path(path), read_context_file(path).text) for path in paths)


def left_of_budget(options: AnyOptions) -> AnyOptions:
    """Subtract the time since the start of the process from --time-budget."""
    if options.time_budget_seconds is None:
        return options
    left = max(options.time_budget_seconds - seconds_since_start(), _LEAST_SECONDS)
    return replace(options, time_budget_seconds=left)


def _shown_path(path: Path) -> str:
    """Name a file as the model may see it: relative, without folders of this machine."""
    relative = os.path.relpath(path)
    outside = relative == os.pardir or relative.startswith(os.pardir + os.sep)
    return safe(path.name if outside else relative)


_ADDRESS_SPACE_BYTES = 256 * 2**20
_LEAST_SECONDS = 0.001  # enough for one token; a budget of 0 is refused
LARGER: Mapping[str, str] = MappingProxyType({"pocket-coder": "tiny_starcoder_py"})
"""Built-in model -> short name of a larger one; none is known for labels."""


def introduce(built_in: str, notes: Notes) -> None:
    """Name the model and the way to a larger one, once a day and only on a terminal."""
    if not notes.has_listener:
        return
    from bigcode_cli.models.first_use import is_first_use_today

    if not is_first_use_today(built_in):
        return
    larger = LARGER.get(built_in)
    way = "another: bigcode models pull OWNER/NAME, then -m OWNER/NAME"
    if larger is not None:
        way = f"a larger one: bigcode models pull {larger}, then -m {larger}"
    notes.remark(f"using the small built-in model {built_in}; {way}")
