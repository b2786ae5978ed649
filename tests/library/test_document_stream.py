"""Many documents share batches; every one gets its own results, in order, or its own error."""

from collections.abc import Iterator, Sequence

import pytest

from gpt_bigcode.errors import InputError
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from gpt_bigcode.windowing.classify_windows import ClassifyWindows
from gpt_bigcode.windowing.document_stream import DocumentStream, WindowTokens
from scripted_models import write_checkpoint

CONTEXT, BATCH = 4, 12


class Collected:
    """Keeps the ids of a document's windows."""

    def __init__(self) -> None:
        self.mark = -1
        self.rows: list[list[int]] = []

    def begin(self, mark_bytes: int) -> None:
        self.mark = mark_bytes

    def add(self, tokens: WindowTokens, result: list[int]) -> None:
        assert result == list(tokens.row)
        self.rows.append(result)

    def close(self) -> list[list[int]]:
        return self.rows


class Machine:
    """Gives each window back, and remembers what was computed together."""

    def __init__(self, *, broken: bool = False) -> None:
        self.batches: list[list[int]] = []
        self._broken = broken

    def __call__(self, windows: Sequence[WindowTokens]) -> list[list[int]]:
        if self._broken:
            raise InputError("the model failed")
        self.batches.append([len(tokens.row) for tokens in windows])
        return [list(tokens.row) for tokens in windows]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    """One token for each byte."""
    folder = write_checkpoint(tmp_path_factory.mktemp("model") / "bytes", script=[])
    return CodeTokenizer.from_file(folder / "tokenizer.json")


def _stream(
    tokenizer: CodeTokenizer, machine: Machine
) -> DocumentStream[list[int], list[list[int]]]:
    return DocumentStream(tokenizer, ClassifyWindows(CONTEXT), machine, batch_tokens=BATCH)


def test_documents_come_in_order_with_their_own_windows(tokenizer: CodeTokenizer) -> None:
    texts = ["a", "", "abcdef", "b" * 50, "xyz", "c" * 11]
    machine = Machine()
    got = list(_stream(tokenizer, machine).run(([text] for text in texts), Collected))
    assert [[i for row in rows for i in row] for rows in got if isinstance(rows, list)] == [
        tokenizer.encode(text) for text in texts
    ]
    for batch in machine.batches:
        assert len(batch) == 1 or len(batch) * max(batch) <= BATCH
        assert max(batch) - min(batch) <= 2  # similar lengths meet


def test_an_error_stays_in_its_place(tokenizer: CodeTokenizer) -> None:
    def broken() -> Iterator[str]:
        yield "abcdefgh"
        raise OSError("gone")

    outcomes = list(
        _stream(tokenizer, Machine()).run([["a"], broken(), ["\ud800"], ["b"]], Collected)
    )
    assert outcomes[0] == [tokenizer.encode("a")]
    assert isinstance(outcomes[1], OSError)
    assert isinstance(outcomes[2], InputError)
    assert outcomes[3] == [tokenizer.encode("b")]


def test_a_window_that_cannot_be_computed_is_its_documents_error(tokenizer: CodeTokenizer) -> None:
    refused = tokenizer.encode("d")[0]

    def machine(windows: Sequence[WindowTokens]) -> list[list[int] | Exception]:
        rows = [list(tokens.row) for tokens in windows]
        return [InputError("too long") if refused in row else row for row in rows]

    stream = DocumentStream[list[int], list[list[int]]](
        tokenizer, ClassifyWindows(CONTEXT), machine, batch_tokens=BATCH
    )
    first, second, third = stream.run([["a"], ["abcdefghabcdefgh"], ["b"]], Collected)
    assert (first, third) == ([tokenizer.encode("a")], [tokenizer.encode("b")])
    assert isinstance(second, InputError)


def test_what_the_model_raises_ends_the_run(tokenizer: CodeTokenizer) -> None:
    with pytest.raises(InputError, match="the model failed"):
        list(_stream(tokenizer, Machine(broken=True)).run([["a"]], Collected))


def test_documents_are_opened_as_they_are_needed(tokenizer: CodeTokenizer) -> None:
    opened = 0

    def endless() -> Iterator[list[str]]:
        nonlocal opened
        while True:
            opened += 1
            yield ["abc"]

    outcomes = _stream(tokenizer, Machine()).run(endless(), Collected)
    assert next(outcomes) == [tokenizer.encode("abc")]
    assert opened <= 5 * BATCH / 3


def test_a_followed_document_gives_results_before_its_end(tokenizer: CodeTokenizer) -> None:
    read = 0

    def pieces() -> Iterator[str]:
        nonlocal read
        for _ in range(8):
            read += 1
            yield "word " * 4000

    document = Collected()
    steps = _stream(tokenizer, Machine()).follow(pieces(), document)
    next(steps)
    assert (read, document.mark) == (1, 0)
    assert document.rows
    for _ in steps:
        pass
    assert sum(map(len, document.rows)) == 8 * 20_000


def test_a_followed_document_raises_its_error_after_its_results(tokenizer: CodeTokenizer) -> None:
    def pieces() -> Iterator[str]:
        yield "word " * 4000
        raise OSError("gone")

    document = Collected()
    with pytest.raises(OSError, match="gone"):
        list(_stream(tokenizer, Machine()).follow(pieces(), document))
    assert document.rows
