"""How completions are shown: as a stream, as text under headings, or as JSON; and the notes.

Knows nothing of how they were asked for.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bigcode_cli.options import OutputFormat
from bigcode_cli.output import Notes, Result

if TYPE_CHECKING:
    from bigcode_cli.inputs import InputText
    from gpt_bigcode.outcomes import Completion
    from gpt_bigcode.pipeline import CompletionStream


@dataclass(frozen=True, kw_only=True)
class Presenter:
    """Shows the answers to one text.

    Attributes:
        source: the text.
        format: how results are written.
        echo: write the text in front of every answer.
        notes: where the notes go.
    """

    source: "InputText"
    format: OutputFormat
    echo: bool
    notes: Notes

    def stream(self, stream: "CompletionStream") -> None:
        """Write an answer as it arises."""
        read = len(stream.prompt.ids)
        dropped = stream.prompt.dropped_tokens
        self._note_dropped(read, self._all_dropped(read, dropped))
        self._note_dropped_context(stream.prompt.dropped_context_tokens)
        result = Result()
        result.write_bytes(self._prompt)
        for piece in stream:
            result.write(piece)
        result.close()
        self._note_details(stream.completion)

    def write(self, completion: "Completion") -> None:
        """Write answers that are complete."""
        read = completion.prompt_tokens
        dropped = self._all_dropped(read, completion.dropped_prefix_tokens)
        self._note_dropped(read, dropped)
        self._note_dropped_context(completion.dropped_context_tokens)
        if self.format is OutputFormat.TEXT:
            self._write_text(completion)
        else:
            self._write_json(replace(completion, dropped_prefix_tokens=dropped))
        self._note_details(completion)

    @property
    def _prompt(self) -> bytes:
        return self.source.data if self.echo else b""

    def _all_dropped(self, read: int, dropped: int) -> int:
        """Count what was never read of a huge text too, at the rate of what was."""
        if not self.source.skipped_bytes:
            return dropped
        rate = (read + dropped) / len(self.source.text.encode())
        return dropped + round(self.source.skipped_bytes * rate)

    def _note_dropped(self, read: int, dropped: int) -> None:
        if dropped:
            kept = f"kept its last {read:,} tokens, dropped {dropped:,}"
            self.notes.note(f"the text is too long: {kept}")

    def _note_dropped_context(self, dropped: int) -> None:
        if dropped:
            self.notes.note(f"dropped {dropped:,} tokens of the --context files")

    def _note_details(self, completion: "Completion") -> None:
        for choice in completion.choices:
            ending = f"{choice.finish_reason}, logprob {choice.logprob:.2f}"
            self.notes.detail(f"{choice.completion_tokens} tokens written, {ending}")
        times = completion.timings
        reading, writing = times.prefill_seconds, times.decode_seconds
        read = completion.prompt_tokens
        self.notes.detail(f"{read} tokens read in {reading:.2f} s, the rest took {writing:.2f} s")

    def _write_text(self, completion: "Completion") -> None:
        """Write several answers one below the other, for people; programs read JSON."""
        result = Result()
        for choice in completion.choices:
            result.write(f"--- {choice.index + 1}/{len(completion.choices)} ---\n")
            result.write_bytes(self._prompt)
            result.write(choice.text if choice.text.endswith("\n") else choice.text + "\n")
        result.close()

    def _write_json(self, completion: "Completion") -> None:
        document = completion.to_dict()
        for choice in document["choices"]:
            choice["text"] = self._prompt.decode() + choice["text"]
        Result().write_json(document, indent=2 if self.format is OutputFormat.JSON else None)
