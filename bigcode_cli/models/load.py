"""What the shared options ask of the library: a loaded model and its `CompletionOptions`.

Knows nothing of how results are shown. Whatever imports NumPy or PyTorch is imported in here.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.options import ComputeOptions, GenerationOptions, KeptModelOptions
from bigcode_cli.framework.output import Notes, safe
from bigcode_cli.io.text_input import InputText, read_context_file
from bigcode_cli.models.resolve import BUILT_IN, Found

if TYPE_CHECKING:
    from gpt_bigcode.completion.options import CompletionOptions, InfillOptions
    from gpt_bigcode.completion.text_model import TextModel
    from gpt_bigcode.hardware import LoadingPolicy
    from gpt_bigcode.labeling.text_classifier import ClassifierDescription, TextClassifier
    from gpt_bigcode.scoring.text_scorer import TextScorer


def set_numpy_threads(threads: int | None) -> None:
    """Tell NumPy's BLAS before it is imported how many threads to use; by default one.

    A small model's products are too short to share: two threads that wait for each other took
    twice as long on an idle machine, and ten times as long on a busy one.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads or 1))


def load_text_model(found: Found, options: KeptModelOptions, notes: Notes) -> "TextModel":
    """Load a model that was found, in the way that the options say."""
    if options.model is None:
        introduce(BUILT_IN, notes)
    from gpt_bigcode.completion.text_model import TextModel

    model = TextModel.load(
        found.directory,
        device=options.device,
        precision=options.precision.value,
        threads=options.threads,
        policy=_policy(options, notes),
    )
    model.name, model.revision = found.name, found.revision
    notes.detail(f"model {found.name} from {found.directory}, {model.load_seconds:.2f} s to load")
    return model


def weights_folder() -> Path:
    """Return where quantized weights are kept, whether it exists or not."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("bigcode", appauthor=False)) / "weights"


def _policy(options: KeptModelOptions, notes: Notes) -> "LoadingPolicy":
    from gpt_bigcode.hardware import LoadingPolicy

    folder = weights_folder()
    kept = not options.no_weights_cache and folder.is_absolute()
    return LoadingPolicy(
        cache_folder=folder if kept else None, detail=notes.detail, note=notes.note
    )


def load_text_scorer(found: Found, options: KeptModelOptions, notes: Notes) -> "TextScorer":
    """Load a model that was found, to score with it in the way that the options say."""
    if options.model is None:
        introduce(BUILT_IN, notes)
    from gpt_bigcode.scoring.text_scorer import TextScorer

    model = TextScorer.load(
        found.directory,
        device=options.device,
        precision=options.precision.value,
        threads=options.threads,
        policy=_policy(options, notes),
    )
    model.name, model.revision = found.name, found.revision
    notes.detail(f"model {found.name} from {found.directory}, {model.load_seconds:.2f} s to load")
    return model


def load_text_classifier(found: Found, options: ComputeOptions, notes: Notes) -> "TextClassifier":
    """Load a model that was found, to classify texts with it in the way that the options say.

    Raises:
        Failure: `model-mismatch`: it is no classifier of whole texts, or its parts do not fit.
    """
    from gpt_bigcode.labeling.text_classifier import TextClassifier

    with _classifier_errors(found):
        model = TextClassifier.load(
            found.directory,
            device=options.device,
            precision=options.precision.value,
            threads=options.threads,
        )
    model.name, model.revision = found.name, found.revision
    notes.detail(f"model {found.name} from {found.directory}, {model.load_seconds:.2f} s to load")
    return model


def describe_classifier(found: Found) -> "ClassifierDescription":
    """Tell what a model that was found says of itself, without loading it.

    Raises:
        Failure: `model-mismatch`: it is no classifier of whole texts.
    """
    from gpt_bigcode.labeling.text_classifier import describe

    with _classifier_errors(found):
        return describe(found.directory)


@contextmanager
def _classifier_errors(found: Found) -> Iterator[None]:
    from gpt_bigcode.errors import CheckpointMismatchError

    try:
        yield
    except CheckpointMismatchError as error:
        hint = error.hint or "bigcode models list shows which models can classify"
        raise Failure(error.slug, f"{found.name}: {error}", hint=hint) from None


def completion_options(options: GenerationOptions, source: InputText) -> "CompletionOptions":
    """Translate the options of a command line for the library; reads the --context files."""
    from gpt_bigcode.completion.options import CompletionOptions

    return CompletionOptions(**_generation_values(options, source))


def infill_options(
    options: GenerationOptions, source: InputText, *, order: str | None, trim: bool
) -> "InfillOptions":
    """The same for a gap."""
    from gpt_bigcode.completion.options import InfillOptions

    return InfillOptions(**_generation_values(options, source), order=order, trim=trim)


def _generation_values(options: GenerationOptions, source: InputText) -> dict[str, Any]:
    files = [(path, read_context_file(path).text) for path in options.context or []]
    from gpt_bigcode.completion.options import ContextFile

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
        "context_files": tuple(ContextFile(_shown_path(path), text) for path, text in files),
        "path": _shown_path(source.path) if files and source.path is not None else None,
    }


def _shown_path(path: Path) -> str:
    """Name a file as the model may see it: relative, without the folders of this machine."""
    relative = os.path.relpath(path)
    outside = relative == os.pardir or relative.startswith(os.pardir + os.sep)
    return safe(path.name if outside else relative)


LARGER: Mapping[str, str] = MappingProxyType({"pocket-coder": "tiny_starcoder_py"})
"""Short name of the next larger model for the same commands; no known one of the family labels."""


def introduce(built_in: str, notes: Notes) -> None:
    """Name the model and the way to a larger one; nothing is said in a pipe or with --quiet."""
    larger = LARGER.get(built_in)
    way = "another: bigcode models pull OWNER/NAME, then -m OWNER/NAME"
    if larger is not None:
        way = f"a larger one: bigcode models pull {larger}, then -m {larger}"
    notes.remark(f"using the small built-in model {built_in}; {way}")
