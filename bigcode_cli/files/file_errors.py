"""What is said of a text that could not be worked on: skipped or an error, and why."""

from dataclasses import dataclass

from bigcode_cli.files.sources import SKIPPED, Source
from bigcode_cli.framework import output
from bigcode_cli.framework.errors import Failure, trace
from bigcode_cli.framework.output import Notes
from gpt_bigcode.errors import GPTBigCodeError


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why there is no result.

    Attributes:
        status: skipped or error.
        reason: a slug that stays the same.
        detail: the reason as a sentence.
    """

    status: str
    reason: str
    detail: str

    @classmethod
    def of(cls, text: Source, error: Exception, *, alone: bool) -> "Fault":
        """What an error means for a text; any other error than ours is raised again.

        Args:
            text: the text.
            error: what came in the place of its result.
            alone: it is the only one; what somebody asked for alone is not passed over.
        """
        if isinstance(error, Failure):
            refused = alone and text.named and error.slug != "empty"
            status = "skipped" if error.slug in SKIPPED and not refused else "error"
            trace(error)
            return cls(status=status, reason=error.slug, detail=str(error))
        if isinstance(error, GPTBigCodeError):
            trace(error)
            return cls(status="error", reason=error.slug, detail=str(error))
        raise error

    def explain(self, text: Source, notes: Notes) -> None:
        """Say it on stderr: errors always, what was skipped if somebody asked for it by name."""
        if self.status == "error":
            output.complain(self.reason, f"{text.name}: {self.detail}")
        elif text.named:
            notes.note(f"{text.name}: skipped: {self.detail}")
        else:
            notes.detail(f"{text.name}: skipped: {self.detail}")
