"""`bigcode complete`: continues a text, as a stream, as text under headings, or as JSON."""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from bigcode_cli.framework.errors import UsageFailure
from bigcode_cli.framework.options import (
    Echo,
    GenerationOptions,
    InputFile,
    KeptModelOptions,
    OutputFormat,
    ReportOptions,
    ServerOptions,
)
from bigcode_cli.framework.output import Notes, Result, write_document
from bigcode_cli.framework.settings import cache_folder
from bigcode_cli.io import text_input
from bigcode_cli.models.load import (
    completion_options,
    introduce,
    left_of_budget,
    load_text_model,
    set_numpy_threads,
)
from bigcode_cli.models.resolve import BUILT_IN, Found, find_model
from bigcode_cli.server.paths import SCHEMES, ServedModel, allowed_server, is_server_wanted

if TYPE_CHECKING:
    from bigcode_cli.io.text_input import InputText
    from bigcode_cli.server.client.writing import WarmStream
    from gpt_bigcode.completion.options import Completion, CompletionOptions
    from gpt_bigcode.completion.text_model import CompletionStream, TextModel


def complete(  # one dataclass for each group of options
    file: InputFile = None,
    *,
    generation: GenerationOptions,
    echo: Echo = False,
    model: KeptModelOptions,
    server: ServerOptions,
    report: ReportOptions,
) -> None:
    """Continue the text of FILE or standard input.

    Output is streamed. Empty input starts a new file. The prompt may end mid-word; its last token
    is regenerated (token healing). Several samples are printed under headings; use --format json
    to process them.
    """
    set_numpy_threads(model.threads)
    text_input.refuse_unusable(file)
    notes = Notes(quiet=report.quiet, verbose=report.verbose)
    found = find_model(model.model)
    source = text_input.read_text(file, whole=echo)
    options = completion_options(generation, source)
    choice = allowed_server(server.server, offline=report.offline)
    text_model = open_text_model(found, model, choice, generation, notes)
    presenter = Presenter(source=source, format=report.format, echo=echo, notes=notes)
    note_useless(options, notes)
    options = left_of_budget(options)
    if report.format is OutputFormat.TEXT and options.samples == 1:
        presenter.stream(text_model.stream(source.text, options))
    else:
        presenter.write(text_model.complete(source.text, options))
    note_reuse(text_model, notes)


def open_text_model(
    found: Found,
    options: KeptModelOptions,
    server: str | None,
    generation: GenerationOptions,
    notes: Notes,
) -> Any:
    """Use a server's model if a server may be used, else load it with its draft model.

    Returns:
        A `TextModel`, or one of its twins `WarmTextModel` and `RemoteTextModel`.
    """
    load = partial(_load, found, options, generation, notes)
    if server is not None and server.startswith(SCHEMES):
        from bigcode_cli.server.client.remote import RemoteTextModel

        return RemoteTextModel(server, found, notes)
    if generation.draft is not None or not is_server_wanted(server, notes):
        return load()
    from bigcode_cli.server.client.warm import warm_model
    from bigcode_cli.server.client.writing import WarmTextModel

    kind = partial(WarmTextModel, cache=not generation.no_prefix_cache)
    model = warm_model(kind, ServedModel(found, options, server), notes, load)
    if isinstance(model, WarmTextModel) and options.model is None:
        introduce(BUILT_IN, notes)
    return model


def _load(
    found: Found, options: KeptModelOptions, generation: GenerationOptions, notes: Notes
) -> "TextModel":
    draft = None if generation.draft is None else _load_draft(generation, options, notes)
    folder = None if generation.no_prefix_cache else cache_folder("prefixes")
    if folder is not None and not folder.is_absolute():
        folder = None  # it would be in the current directory
    return load_text_model(found, options, notes, draft=draft, prefix_cache=folder)


def _load_draft(
    generation: GenerationOptions, options: KeptModelOptions, notes: Notes
) -> "TextModel | None":
    """Load the model of --draft, for speculative decoding.

    Raises:
        UsageFailure: speculative decoding is disabled.
        Failure: `model-missing`.
    """
    if generation.no_speculation:
        raise UsageFailure("--draft and --no-speculation do not go together")
    if generation.samples != 1:
        notes.note("--draft is ignored: several samples are generated without speculation")
        return None
    found = find_model(generation.draft, option="--draft")
    return load_text_model(found, replace(options, model=generation.draft), notes)


def note_useless(options: "CompletionOptions", notes: Notes) -> None:
    """Note sampling options that have no effect at temperature 0."""
    if options.samples_are_alike:
        notes.note(f"the {options.samples} samples are alike: set --temperature above 0")
    if options.unused_sampling:
        names = ", ".join(f"--{name}" for name in options.unused_sampling)
        notes.remark(f"no effect at temperature 0: {names}")


def note_reuse(model: Any, notes: Notes) -> None:
    """Note under --verbose how much of the prompt was cached; a server has a cache of its own."""
    reused = getattr(model, "reused_tokens", 0)
    if reused:
        notes.detail(f"prompt cache: {reused} tokens reused")


@dataclass(frozen=True, kw_only=True)
class Presenter:
    """Prints the completions of one text.

    Attributes:
        source: the text.
        format: how results are written.
        echo: print the text before every completion.
        notes: where notes go.
    """

    around_gap: ClassVar[bool] = False

    source: "InputText"
    format: OutputFormat
    echo: bool
    notes: Notes

    def stream(self, stream: "CompletionStream | WarmStream") -> None:
        """Print a completion while it is generated."""
        read = len(stream.prompt.ids)
        dropped = stream.prompt.dropped_tokens
        after = stream.prompt.dropped_suffix_tokens
        self._note_dropped(read, self._all_dropped(read, dropped), after)
        self._note_dropped_context(stream.prompt.dropped_context_tokens)
        result = Result()
        result.write_bytes(self._before)
        for piece in stream:
            result.write(piece)
        result.write_bytes(self._after)
        result.close()
        self._note_details(stream.completion)

    def write(self, completion: "Completion", *, silent: bool = False) -> None:
        """Print finished completions; if `silent`, only the notes."""
        read = completion.prompt_tokens
        dropped = self._all_dropped(read, completion.dropped_prefix_tokens)
        self._note_dropped(read, dropped, completion.dropped_suffix_tokens)
        self._note_dropped_context(completion.dropped_context_tokens)
        if silent:
            pass
        elif self.format is OutputFormat.TEXT:
            self._write_text(completion)
        else:
            self._write_json(replace(completion, dropped_prefix_tokens=dropped))
        self._note_details(completion)

    @property
    def _before(self) -> bytes:
        """What is printed before every completion."""
        return self.source.data if self.echo else b""

    @property
    def _after(self) -> bytes:
        """What is printed after it."""
        return b""

    def _shown(self, text: str) -> bytes:
        """Return a completion as it is printed."""
        return self._before + text.encode() + self._after

    def _whole(self, shown: bytes) -> bytes:
        """Return it with a line break at its end, so that something can follow."""
        return shown if shown.endswith(b"\n") else shown + b"\n"

    def _all_dropped(self, read: int, dropped: int) -> int:
        """Add the tokens of the unread part of a huge text, estimated from the rest."""
        if not self.source.skipped_bytes:
            return dropped
        rate = (read + dropped) / len(self.source.text.encode())
        return dropped + round(self.source.skipped_bytes * rate)

    def _note_dropped(self, read: int, dropped: int, after: int) -> None:
        if self.around_gap and dropped + after:
            sides = f"dropped {dropped:,} before and {after:,} after the gap"
            self.notes.note(f"the text is too long: kept {read:,} tokens, {sides}")
        elif dropped:
            kept = f"kept its last {read:,} tokens, dropped {dropped:,}"
            self.notes.note(f"the text is too long: {kept}")

    def _note_dropped_context(self, dropped: int) -> None:
        if dropped:
            self.notes.note(f"dropped {dropped:,} tokens of the --context files")

    def _note_details(self, completion: "Completion") -> None:
        for choice in completion.choices:
            ending = f"{choice.finish_reason}, logprob {choice.logprob:.2f}"
            self.notes.detail(f"completion: {choice.completion_tokens} tokens, {ending}")
        times = completion.timings
        prompt = f"{completion.prompt_tokens} tokens in {times.prefill_seconds:.2f} s"
        self.notes.detail(f"prompt: {prompt}; generation: {times.decode_seconds:.2f} s")
        if times.drafted_tokens:
            accepted = f"{times.accepted_tokens} of {times.drafted_tokens} draft tokens accepted"
            self.notes.detail(f"speculation: {accepted}; --no-speculation turns it off")

    def _write_text(self, completion: "Completion") -> None:
        """Print several completions under headings, for people; programs read JSON."""
        result = Result()
        if len(completion.choices) == 1:
            result.write_bytes(self._shown(completion.choices[0].text))
            result.close()
            return
        for choice in completion.choices:
            result.write(f"==> {choice.index + 1}/{len(completion.choices)} <==\n")
            result.write_bytes(self._whole(self._shown(choice.text)))
        result.close()

    def _write_json(self, completion: "Completion") -> None:
        document = completion.to_dict()
        for choice in document["choices"]:
            choice["text"] = self._shown(choice["text"]).decode()
        write_document(document, self.format)
