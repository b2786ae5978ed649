"""From text and files to ids: what is kept, what is dropped, what is never said."""

from pathlib import Path

import pytest

from gpt_bigcode.completion import prompt as prompts
from gpt_bigcode.completion.context_files import relative_path
from gpt_bigcode.completion.options import CompletionOptions, ContextFile
from gpt_bigcode.completion.prompt import ModelSpace, Prompt
from gpt_bigcode.errors import ContextError, InputError
from gpt_bigcode.text_form import has_crlf
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

FILENAME = 5


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> CodeTokenizer:
    return CodeTokenizer.from_file(tiny_checkpoint / "tokenizer.json")


@pytest.fixture(scope="module")
def plain(tiny_plain_checkpoint: Path) -> CodeTokenizer:
    return CodeTokenizer.from_file(tiny_plain_checkpoint / "tokenizer.json")


Layout = tuple[CompletionOptions, ModelSpace]


def layout(context_length: int = 128, max_tokens: int = 28, **fields: object) -> Layout:
    if "files" in fields:
        fields["context_files"] = fields.pop("files")
    options = CompletionOptions(max_tokens=max_tokens, **{"heal": False, **fields})  # type: ignore[arg-type]
    return options, ModelSpace(context_length, 0)


def build_prompt(tokenizer: CodeTokenizer, text: str, layout: Layout) -> Prompt:
    return prompts.build_prompt(tokenizer, text, *layout)


def test_a_document_begins_with_the_end_of_the_one_before(tokenizer: CodeTokenizer) -> None:
    prompt = build_prompt(tokenizer, "def f(", layout())
    assert prompt.ids == (0, *tokenizer.encode("def f("))
    assert (prompt.text, prompt.crlf) == ("def f(", False)
    assert prompt.dropped_tokens == 0


@pytest.mark.parametrize("text", ["", "\ufeff"])
def test_an_empty_prompt_is_the_beginning_of_a_document(
    tokenizer: CodeTokenizer, text: str
) -> None:
    assert build_prompt(tokenizer, text, layout()).ids == (0,)


def test_a_byte_order_mark_is_not_read(tokenizer: CodeTokenizer) -> None:
    marked = build_prompt(tokenizer, "\ufeffx = '\ufeff'", layout())
    assert marked == build_prompt(tokenizer, "x = '\ufeff'", layout())


def test_sentinels_in_the_text_are_text(tokenizer: CodeTokenizer) -> None:
    text = "a <fim_middle> b <|endoftext|>"
    prompt = build_prompt(tokenizer, text, layout())
    assert tokenizer.control_ids.isdisjoint(prompt.ids[1:])
    assert tokenizer.decode_bytes(prompt.ids) == text.encode()


@pytest.mark.parametrize("text", ["a\r\nb\r\n", "a\r\nb\r\nc\n", "a\r\n"])
def test_the_model_reads_lf_where_crlf_is_dominant(tokenizer: CodeTokenizer, text: str) -> None:
    prompt = build_prompt(tokenizer, text, layout())
    assert has_crlf(text)
    assert prompt.crlf
    assert prompt.text == text.replace("\r\n", "\n")
    assert tokenizer.decode_bytes(prompt.ids) == prompt.text.encode()


@pytest.mark.parametrize("text", ["", "a\nb\n", "a\r\nb\n", "a\rb\r"])
def test_other_line_ends_are_read_as_they_are(tokenizer: CodeTokenizer, text: str) -> None:
    prompt = build_prompt(tokenizer, text, layout())
    assert not has_crlf(text)
    assert not prompt.crlf
    assert tokenizer.decode_bytes(prompt.ids) == text.encode() == prompt.text.encode()


LINES = "".join(f"line_{n} = {n}\n" for n in range(60))


@pytest.mark.parametrize("max_tokens", [1, 28, 64, 10**12])
def test_the_end_is_kept_and_room_for_new_tokens(tokenizer: CodeTokenizer, max_tokens: int) -> None:
    prompt = build_prompt(tokenizer, LINES + "here", layout(max_tokens=max_tokens))
    room = 128 - min(max_tokens, 64)
    assert room - 20 < len(prompt.ids) <= room
    kept = tokenizer.decode_bytes(prompt.ids)
    assert kept.endswith(b"line_59 = 59\nhere")
    assert kept.startswith(b"line_")
    assert 0 not in prompt.ids  # not the beginning of the document
    whole = len(tokenizer.encode(LINES + "here"))
    assert len(prompt.ids) + prompt.dropped_tokens == whole
    with pytest.raises(ContextError, match=str(whole)):
        build_prompt(tokenizer, LINES + "here", layout(max_tokens=max_tokens, truncate=False))


def test_a_prompt_that_just_fits_is_whole(tokenizer: CodeTokenizer) -> None:
    ids = tokenizer.encode(LINES)
    exact = layout(len(ids) + 1 + 9, 9, truncate=False)
    assert build_prompt(tokenizer, LINES, exact).ids == (0, *ids)
    with pytest.raises(ContextError):
        build_prompt(tokenizer, LINES, layout(len(ids) + 9, 9, truncate=False))


@pytest.mark.parametrize("length", [2, 3, 4, 8])
def test_a_tiny_context_still_holds_something(tokenizer: CodeTokenizer, length: int) -> None:
    for text in ("", "a", "日本語日本語", LINES):
        prompt = build_prompt(tokenizer, text, layout(length, 64))
        assert 1 <= len(prompt.ids) < length


def test_a_character_that_cannot_be_held_is_an_error(tokenizer: CodeTokenizer) -> None:
    with pytest.raises(InputError):
        build_prompt(tokenizer, "a\ud800", layout())


A = ContextFile("lib/a.py", "A = 1\n")
B = ContextFile("lib/b.py", "B = 2")


def test_files_stand_before_the_prompt_under_their_names(tokenizer: CodeTokenizer) -> None:
    prompt = build_prompt(
        tokenizer, "x = A", layout(context_length=256, files=(A, B), path="main.py")
    )
    assert prompt.ids == (
        *(0, FILENAME, *tokenizer.encode("lib/a.py\n"), *tokenizer.encode("A = 1\n")),
        *(FILENAME, *tokenizer.encode("lib/b.py\n"), *tokenizer.encode("B = 2\n")),
        *(FILENAME, *tokenizer.encode("main.py\n"), *tokenizer.encode("x = A")),
    )


def test_without_such_tokens_files_stand_under_a_comment(plain: CodeTokenizer) -> None:
    files = (A, ContextFile("b.go", "var B\r\n"), ContextFile("c.sql", "select 1\n"))
    prompt = build_prompt(plain, "x = A", layout(context_length=256, files=files, path="m.py"))
    assert plain.decode_bytes(prompt.ids) == (
        b"# lib/a.py\nA = 1\n// b.go\nvar B\n-- c.sql\nselect 1\nx = A"
    )
    assert prompt.ids[0] == 0


def test_an_unknown_path_is_left_empty(tokenizer: CodeTokenizer) -> None:
    prompt = build_prompt(tokenizer, "x", layout(files=(A,)))
    tail = (FILENAME, *tokenizer.encode("\n"), *tokenizer.encode("x"))
    assert prompt.ids[-len(tail) :] == tail


def test_a_path_alone_says_nothing(tokenizer: CodeTokenizer) -> None:
    assert build_prompt(tokenizer, "x", layout(path="main.py")).ids == (0, *tokenizer.encode("x"))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("a/b.py", "a/b.py"),
        ("./a.py", "a.py"),
        ("/home/someone/secret/a.py", "a.py"),
        ("../../elsewhere/a.py", "a.py"),
        ("~/a.py", "a.py"),
        ("C:\\Users\\someone\\a.py", "a.py"),
        ("lib\\a.py", "lib/a.py"),
        ("", ""),
    ],
)
def test_a_path_says_nothing_of_the_machine(tokenizer: CodeTokenizer, path: str, said: str) -> None:
    assert relative_path(path) == said
    prompt = build_prompt(tokenizer, "", layout(files=(ContextFile(path, "x\n"),), path=path))
    ids = (FILENAME, *tokenizer.encode(said + "\n"))
    assert prompt.ids == (0, *ids, *tokenizer.encode("x\n"), *ids)


def test_files_take_at_most_half_of_the_room(tokenizer: CodeTokenizer) -> None:
    files = (ContextFile("a.py", LINES), ContextFile("b.py", LINES))
    prompt = build_prompt(tokenizer, "x = 1", layout(200, 40, files=files))
    own = len(tokenizer.encode("x = 1"))
    assert 40 < len(prompt.ids) - 1 - own <= 80
    assert len(prompt.ids) <= 160
    text = tokenizer.decode_bytes(prompt.ids)
    assert text.startswith(
        b"b.py\nline_0 = 0\nline_1"
    )  # the file nearest to the prompt, from its top
    assert b"a.py" not in text
    assert prompt.dropped_context_tokens > 2 * len(tokenizer.encode(LINES)) - 80
    assert prompt.dropped_tokens == 0


def test_a_prompt_that_is_cut_leaves_nothing_to_files(tokenizer: CodeTokenizer) -> None:
    # The cut at a line start leaves a few tokens of room; a scrap of a file there would mislead.
    files = (ContextFile("", "x\n"),)
    for length in range(100, 128):
        alone = build_prompt(tokenizer, LINES, layout(length))
        assert build_prompt(tokenizer, LINES, layout(length, files=files)).ids == alone.ids


def test_files_give_way_to_the_prompt(tokenizer: CodeTokenizer) -> None:
    alone = build_prompt(tokenizer, LINES, layout())
    crowded = build_prompt(tokenizer, LINES, layout(files=(A, B), path="main.py"))
    assert crowded.ids == alone.ids
    assert crowded.dropped_context_tokens == sum(
        len(tokenizer.encode(text)) for text in ("A = 1\n", "B = 2\n")
    )
