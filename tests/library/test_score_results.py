"""What scoring gives back: values of tokens by columns, and of excerpts only what is wanted."""

from pathlib import Path

import pytest

from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.numpy_heads import NumpyScorer
from gpt_bigcode.scoring.results import Score, ScoreOptions, TokenScores
from gpt_bigcode.scoring.text_scorer import TextScorer
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from gpt_bigcode.windowing.document_stream import Excerpt

LONG = 'def area(width, height):\n    """Größe 日本語 😀"""\n    return width * height\n\n' * 9


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> TextScorer:
    scorer = NumpyScorer(NumpyDecoder.load(tiny_checkpoint))
    return TextScorer(scorer, CodeTokenizer.from_file(tiny_checkpoint / "tokenizer.json"))


def test_values_of_tokens_are_compact(model: TextScorer) -> None:
    scores = model.score(LONG, ScoreOptions(tokens=True)).token_scores
    assert isinstance(scores, TokenScores)
    assert TokenScores.of(scores) == scores
    assert [*scores] == [scores[place] for place in range(len(scores))]
    assert [*scores[3:9:2]] == [*scores][3:9:2]
    assert scores[-1].end == len(LONG.encode())
    columns = (scores.ids, scores.starts, scores.ends, scores.lines, scores.logprobs)
    assert sum(column.itemsize for column in columns) <= 32
    with pytest.raises(IndexError):
        scores[len(scores)]


@pytest.mark.parametrize("number", [1, 77, 200])
def test_of_an_excerpt_only_the_windows_of_its_lines_are_read(
    model: TextScorer, number: int
) -> None:
    text = "".join(f"x_{line} = {line}\n" for line in range(1, 201))
    options = ScoreOptions(lines=True, tokens=True)
    whole = model.score(text, options)
    document = Excerpt([text[:100], text[100:]], (range(number, number + 1),))
    (part,) = model.score_many([document], options)
    assert isinstance(part, Score)
    assert part.windows < whole.windows / 2
    assert part.bytes < whole.bytes / 2
    ours, theirs = part.lines[number - 1], whole.lines[number - 1]
    assert (ours.start, ours.end, ours.tokens) == (theirs.start, theirs.end, theirs.tokens)
    assert ours.nll == pytest.approx(theirs.nll, rel=1e-5)
    starts = {one.start for one in part.token_scores if one.line == number}
    assert starts == {one.start for one in whole.token_scores if one.line == number}
