"""Other files of the repository in front of a prompt."""

from itertools import chain
from pathlib import PurePosixPath, PureWindowsPath

from gpt_bigcode.completion.options import CompletionOptions
from gpt_bigcode.text_form import to_lf, without_mark
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

_SLASHES = frozenset(
    {
        *("c", "cc", "cpp", "cs", "cu", "dart", "go", "h", "hpp", "java", "js", "jsx", "kt", "m"),
        *("php", "rs", "scala", "swift", "ts", "tsx"),
    }
)
_DASHES = frozenset({"ada", "elm", "hs", "lua", "sql", "vhdl"})


def lay_out_files(
    tokenizer: CodeTokenizer, options: CompletionOptions, room: int
) -> tuple[list[int], int]:
    """Ids of the files' part in front of the prompt, and the number of tokens left out.

    With `<filename>` in the vocabulary: `<filename>path LF text` for each file, `<filename>path LF`
    before the prompt itself (an unknown path is left empty). Else each file under a comment that
    names it. A file that does not fit keeps its beginning; of several, the last ones are kept.
    """
    own = _header(tokenizer, options.path or "") if tokenizer.repository else []
    left, dropped = room - len(own), 0
    parts: list[list[int]] = []
    for file in reversed(options.context_files):
        header = _header(tokenizer, file.path)
        body = to_lf(without_mark(file.text)).rstrip("\n")
        ids, missing = tokenizer.encode_head(body + "\n", max(left - len(header), 0))
        dropped += missing
        if ids:
            parts.append(header + ids)
            left -= len(header) + len(ids)
    if not parts:
        return [], dropped
    return list(chain(*reversed(parts), own)), dropped


def _header(tokenizer: CodeTokenizer, path: str) -> list[int]:
    """What comes before a file's text."""
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
