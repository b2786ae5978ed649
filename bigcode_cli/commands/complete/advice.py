"""What is said of options that have no effect."""

from typing import TYPE_CHECKING

from bigcode_cli.framework.output import Notes

if TYPE_CHECKING:
    from gpt_bigcode.completion.options import CompletionOptions


def note_useless(options: "CompletionOptions", notes: Notes) -> None:
    """Say which sampling options change nothing, because nothing is sampled at temperature 0."""
    if options.samples_are_alike:
        notes.note(f"the {options.samples} samples are alike: set --temperature above 0")
    if options.unused_sampling:
        names = ", ".join(f"--{name}" for name in options.unused_sampling)
        notes.remark(f"no effect at temperature 0: {names}")
