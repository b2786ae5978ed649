"""From text and files to the ids that a model reads, within its context; knows no model.

`<|endoftext|>` goes in front of a prompt that begins a document: the family was trained on
documents joined by it, so the first tokens of a document were always read after it. A prompt whose
beginning did not fit has none, as the windows of training that begin inside a document have none.
"""

from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath, PureWindowsPath

from gpt_bigcode.errors import ContextError
from gpt_bigcode.tokenization.chunks import BYTE_ORDER_MARK
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

_SLASHES = frozenset(
    {
        *("c", "cc", "cpp", "cs", "cu", "dart", "go", "h", "hpp", "java", "js", "jsx", "kt", "m"),
        *("php", "rs", "scala", "swift", "ts", "tsx"),
    }
)
_DASHES = frozenset({"ada", "elm", "hs", "lua", "sql", "vhdl"})


@dataclass(frozen=True)
class ContextFile:
    """Another file of the repository: its path relative to it, and its text."""

    path: str
    text: str


@dataclass(frozen=True, kw_only=True)
class PromptLayout:
    """What a prompt is built by.

    Attributes:
        context_length: the most tokens that the model can hold.
        max_tokens: new tokens wanted; room is kept for them, but at most half of the context.
        start_id: the token that begins a document.
        truncate: drop the beginning of a prompt that does not fit, else raise.
        heal: take the last token off, to be spelled again (see `healing`).
        files: other files; the last one stands nearest to the prompt.
        path: the prompt's own path, read only together with `files`.
    """

    context_length: int
    max_tokens: int
    start_id: int
    truncate: bool = True
    heal: bool = False
    files: tuple[ContextFile, ...] = ()
    path: str | None = None

    @property
    def room(self) -> int:
        """Tokens that the prompt may have, files and control tokens included."""
        return self.context_length - min(self.max_tokens, self.context_length // 2)


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What the model reads.

    Attributes:
        ids: token ids, at least one.
        text: the prompt's text as the model reads it: no byte order mark, line ends as LF if CRLF
            was the dominant kind.
        crlf: whether it was; then what the model writes gets CRLF back.
        healed: the bytes of the last token, if it was taken off.
        suffix: the text after the cursor in the same form, when infilling.
        dropped_tokens: tokens of the prompt that did not fit (see `outcomes.Completion`).
        dropped_suffix_tokens: the same for the text after the cursor.
        dropped_context_tokens: the same for the files.
    """

    ids: tuple[int, ...]
    text: str
    crlf: bool
    healed: bytes = b""
    suffix: str = ""
    dropped_tokens: int = 0
    dropped_suffix_tokens: int = 0
    dropped_context_tokens: int = 0


def build_prompt(tokenizer: CodeTokenizer, text: str, layout: PromptLayout) -> Prompt:
    """Lay out files and prompt; files get at most half the room, and only what the prompt leaves.

    Raises:
        ContextError: the prompt does not fit and may not be truncated.
        InputError: text that the tokenizer cannot hold.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    crlf = has_crlf(text)
    if crlf:
        text = text.replace("\r\n", "\n")
    ids, dropped = tokenizer.encode_tail(text, layout.room - 1)
    if dropped and not layout.truncate:
        raise ContextError(
            f"the prompt has {len(ids) + dropped} tokens, the model has room for {layout.room - 1} "
            f"beside {layout.context_length - layout.room} new ones"
        )
    room = 0 if dropped else min(layout.room // 2, layout.room - 1 - len(ids))
    context, dropped_context = lay_out_files(tokenizer, layout, room)
    start = [] if dropped and ids else [layout.start_id]
    whole = [*start, *context, *ids]
    heal = layout.heal and bool(ids) and len(whole) > 1
    return Prompt(
        ids=tuple(whole[:-1] if heal else whole),
        text=text,
        crlf=crlf,
        healed=tokenizer.token_bytes(ids[-1]) if heal else b"",
        dropped_tokens=dropped,
        dropped_context_tokens=dropped_context,
    )


def has_crlf(text: str) -> bool:
    """Whether most line ends are CRLF."""
    return 2 * text.count("\r\n") > text.count("\n")


def lay_out_files(
    tokenizer: CodeTokenizer, layout: PromptLayout, room: int
) -> tuple[list[int], int]:
    """Ids of the files' part in front of the prompt, and the number of tokens left out.

    With `<filename>` in the vocabulary: `<filename>path LF text` for each file, `<filename>path LF`
    before the prompt itself (an unknown path is left empty). Else each file under a comment that
    names it. A file that does not fit keeps its beginning; of several, the last ones are kept.
    """
    if not layout.files:
        return [], 0
    own = _header(tokenizer, layout.path or "") if tokenizer.repository else []
    left, dropped = room - len(own), 0
    parts: list[list[int]] = []
    for file in reversed(layout.files):
        header = _header(tokenizer, file.path)
        body = file.text.removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n").rstrip("\n")
        ids, missing = tokenizer.encode_head(body + "\n", max(left - len(header), 0))
        dropped += missing
        if ids:
            parts.append(header + ids)
            left -= len(header) + len(ids)
    if not parts:
        return [], dropped
    return list(chain(*reversed(parts), own)), dropped


def _header(tokenizer: CodeTokenizer, path: str) -> list[int]:
    """What stands before a file's text."""
    name = relative_path(path)
    if tokenizer.repository is not None:
        return [tokenizer.repository.file, *tokenizer.encode(name + "\n")]
    return tokenizer.encode(f"{_comment_mark(name)} {name}\n")


def relative_path(path: str) -> str:
    """A path that says nothing of the machine: only the name if it is absolute or goes up."""
    pure = PureWindowsPath(path) if "\\" in path else PurePosixPath(path)
    if pure.is_absolute() or pure.drive or ".." in pure.parts or "~" in path[:1]:
        return pure.name
    return pure.as_posix() if path else ""


def _comment_mark(name: str) -> str:
    """What begins a comment in a file of that name."""
    extension = PurePosixPath(name).suffix[1:].lower()
    if extension in _SLASHES:
        return "//"
    return "--" if extension in _DASHES else "#"
