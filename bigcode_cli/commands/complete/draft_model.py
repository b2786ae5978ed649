"""`--draft`: a smaller model for speculative decoding."""

from dataclasses import replace
from typing import TYPE_CHECKING

from bigcode_cli.framework.errors import UsageFailure
from bigcode_cli.framework.options import GenerationOptions, KeptModelOptions
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.load import load_text_model
from bigcode_cli.models.resolve import find_model

if TYPE_CHECKING:
    from gpt_bigcode.completion.text_model import TextModel


def load_draft(
    generation: GenerationOptions, options: KeptModelOptions, notes: Notes
) -> "TextModel | None":
    """Load the draft model, if one was asked for.

    Raises:
        UsageFailure: speculative decoding is disabled.
        Failure: `model-missing`.
    """
    name = generation.draft
    if name is None:
        return None
    if generation.no_speculation:
        raise UsageFailure("--draft and --no-speculation do not go together")
    if generation.samples != 1:
        notes.note("--draft is ignored: several samples are generated without speculation")
        return None
    found = find_model(name, option="--draft")
    return load_text_model(found, replace(options, model=name), notes)
