"""`--draft`: a smaller model for speculative decoding."""

from dataclasses import replace
from typing import TYPE_CHECKING

from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.framework.options import GenerationOptions, KeptModelOptions
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.load import load_text_model
from bigcode_cli.models.resolve import find_model

if TYPE_CHECKING:
    from gpt_bigcode.completion.text_model import TextModel


def load_draft(
    model: "TextModel", generation: GenerationOptions, options: KeptModelOptions, notes: Notes
) -> None:
    """Give a model its draft model, if one was asked for.

    Raises:
        UsageFailure: speculative decoding is disabled.
        Failure: `model-missing`, `draft-mismatch`.
    """
    name = generation.draft
    if name is None:
        return
    if generation.no_speculation:
        raise UsageFailure("--draft and --no-speculation do not go together")
    if generation.samples != 1:
        notes.note("--draft is ignored: several samples are generated without speculation")
        return
    found = find_model(name, option="--draft")
    draft = load_text_model(found, replace(options, model=name), notes)
    from gpt_bigcode.backends.interfaces import StepDecoder

    if draft.tokenizer.spellings != model.tokenizer.spellings or (
        draft.tokenizer.special_ids != model.tokenizer.special_ids
    ):
        why = f"its tokenizer differs from that of {model.name}"
        hint = "a draft model must share the tokenizer, as tiny_starcoder_py and StarCoder do"
        raise Failure("draft-mismatch", f"--draft: {found.name}: {why}", hint=hint)
    if isinstance(draft.decoder, StepDecoder):
        model.draft = draft.decoder
