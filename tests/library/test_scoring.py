"""The numbers people know: the same from our scorer, from a naive loop and from our peers."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
import transformers

from gpt_bigcode.backends.interfaces import ScoredRow, Scorer
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.numpy_heads import NumpyScorer
from gpt_bigcode.backends.numpy_tensors import Floats
from gpt_bigcode.backends.torch_heads import TorchScorer
from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.errors import ContextError, InputError, NonFiniteError, OptionError
from gpt_bigcode.scoring.results import NllStats, Score, ScoreOptions
from gpt_bigcode.scoring.text_scorer import TextScorer
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from gpt_bigcode.windowing.document_stream import PIECE_CHARACTERS, cut_at_white_space
from gpt_bigcode.windowing.score_windows import WindowMode

if TYPE_CHECKING:
    from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM

M = WindowMode
CONTEXT = 128
SAMPLE = (
    'def area(width, height):\n    """Of a rectangle."""\n    if width < 0:\n'
    '        raise ValueError("negative: %d x %d" % (width, height))\n    return width * height\n'
    "\n\nfor number in range(2024):\n"
    '    print(number, "größer", "日本語", "😀", sep=", ")\n\n'
)
LONG = SAMPLE * 3
TEXTS = (
    *("x", "\n", "a b", "\r\n\r\n", "\tif x:\r\n", "é中😀", SAMPLE, LONG),
    *("no line end\nlast", "x = 1\n" * 200),
)


@pytest.fixture(scope="module", params=["numpy", "torch"])
def model(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> TextScorer:
    scorer: Scorer
    if request.param == "numpy":
        scorer = NumpyScorer(NumpyDecoder.load(tiny_checkpoint))
    else:
        scorer = _torch_scorer(tiny_checkpoint)
    return TextScorer(scorer, CodeTokenizer.from_file(tiny_checkpoint / "tokenizer.json"))


def _torch_scorer(folder: Path) -> TorchScorer:
    return TorchScorer(cast("GPTBigCodeForCausalLM", load_model(folder)))


@pytest.fixture(scope="module")
def peer(tiny_checkpoint: Path) -> Any:
    loaded: Any = transformers.GPTBigCodeForCausalLM.from_pretrained(
        tiny_checkpoint, attn_implementation="eager", dtype=torch.float32
    )
    return loaded.eval()


def _peer_logprobs(peer: Any, ids: Sequence[int]) -> list[float]:
    """Of ids[1:], by the reference's model."""
    with torch.no_grad():
        logits = peer(torch.tensor([list(ids[:-1])])).logits[0].double()
    chosen = logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])
    return chosen[:, 0].tolist()  # type: ignore[no-any-return]


def _score(model: TextScorer, text: str, **options: Any) -> Score:
    return model.score(text, ScoreOptions(**options))


@pytest.mark.parametrize("place", range(len(TEXTS)))
def test_f1_equals_a_naive_loop_over_the_reference(
    model: TextScorer, peer: Any, place: int
) -> None:
    """Window by window as documented, with the reference's model and nothing of ours."""
    ids = [0, *model.tokenizer.encode(TEXTS[place])]
    nll, done = 0.0, 1
    while done < len(ids):
        end = min(CONTEXT + 1 if done == 1 else done + CONTEXT // 2, len(ids))
        start = max(end - 1 - CONTEXT, 0)
        nll -= sum(_peer_logprobs(peer, ids[start:end])[done - end :])
        done = end
    score = _score(model, TEXTS[place])
    assert score.tokens == len(ids) - 1
    assert score.bytes == len(TEXTS[place].encode())
    assert score.nll == pytest.approx(nll, rel=1e-5)
    assert score.perplexity == pytest.approx(math.exp(nll / (len(ids) - 1)), rel=1e-4)
    assert score.bits_per_byte == pytest.approx(nll / math.log(2) / score.bytes, rel=1e-5)


def test_every_token_has_the_log_probability_that_the_reference_gives(
    model: TextScorer, peer: Any
) -> None:
    ids = model.tokenizer.encode(SAMPLE)[:CONTEXT]
    text = model.tokenizer.decode_bytes(ids).decode("utf-8", "ignore")
    ids = model.tokenizer.encode(text)[: CONTEXT - 1]
    score = _score(model, text, tokens=True, mode=M.STRIDED)
    ours = [token.logprob for token in score.token_scores][: len(ids)]
    assert ours == pytest.approx(_peer_logprobs(peer, [0, *ids]), abs=1e-4)


def test_disjoint_equals_the_rolling_log_likelihood_of_lm_eval(
    model: TextScorer, peer: Any
) -> None:
    ids = model.tokenizer.encode(LONG)
    total = 0.0
    for begin in range(0, len(ids), CONTEXT):
        end = min(begin + CONTEXT, len(ids))
        before = [0, *ids][max(end - CONTEXT, 0) : begin + 1]  # fills up the last, short window
        total += sum(_peer_logprobs(peer, [*before, *ids[begin:end]])[begin - end :])
    score = _score(model, LONG, mode=M.DISJOINT)
    assert score.windows == -(-len(ids) // CONTEXT)
    assert score.nll == pytest.approx(-total, abs=1e-4 * len(ids))
    assert score.bits_per_byte == pytest.approx(-total / score.bytes / math.log(2), abs=1e-4)


@pytest.mark.parametrize("stride", [32, 64, 128])
def test_huggingface_equals_its_strided_loop(model: TextScorer, peer: Any, stride: int) -> None:
    ids = torch.tensor([model.tokenizer.encode(LONG)])
    length, previous, nll, count = ids.shape[1], 0, 0.0, 0
    for begin in range(0, length, stride):
        end = min(begin + CONTEXT, length)
        labels = ids[:, begin:end].clone()
        labels[:, : -(end - previous)] = -100
        with torch.no_grad():
            loss = peer(ids[:, begin:end], labels=labels).loss
        scored = int((labels[:, 1:] != -100).sum())
        nll, count, previous = nll + float(loss) * scored, count + scored, end
        if end == length:
            break
    score = _score(model, LONG, mode=M.HUGGINGFACE, stride=stride)
    assert score.tokens == count
    assert (count == length - 1) is (stride < CONTEXT)
    assert score.perplexity == pytest.approx(math.exp(nll / count), rel=1e-4)


def test_llama_equals_the_halves_of_llama_perplexity(model: TextScorer, peer: Any) -> None:
    ids = model.tokenizer.encode(LONG)
    values: list[float] = []
    for chunk in range(len(ids) // CONTEXT):
        logprobs = _peer_logprobs(peer, ids[chunk * CONTEXT : (chunk + 1) * CONTEXT])
        values += logprobs[CONTEXT // 2 :]
    score = _score(model, LONG, mode=M.LLAMA)
    assert score.tokens == len(values) == (len(ids) // CONTEXT) * (CONTEXT - CONTEXT // 2 - 1)
    assert score.perplexity == pytest.approx(math.exp(-np.mean(values)), rel=1e-4)


def test_f2_equal_logits_give_the_vocabulary_as_perplexity(tmp_path: Path) -> None:
    decoder = NumpyDecoder.load(_uniform(tmp_path))
    assert decoder.vocabulary_size == 53
    rows = [ScoredRow(list(range(50)), 1), ScoredRow([1, 2], 1), ScoredRow([0] * 60, 30)]
    for scorer in (NumpyScorer(decoder), _torch_scorer(tmp_path)):
        for row, values in zip(rows, scorer.log_probabilities(rows), strict=True):
            assert len(values) == len(row.ids) - row.first
            part = NllStats(tokens=len(values), bytes=1, nll=-float(values.sum()))
            assert part.perplexity == pytest.approx(53, rel=1e-13)


def _uniform(folder: Path) -> Path:
    from gpt_bigcode.checkpoint.loading import save_model
    from reference_models import make_ours

    model = make_ours(seed=1)
    with torch.no_grad():
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.zero_()
    save_model(model, folder)
    return folder


def test_f2_alone_in_a_batch_and_in_reverse(model: TextScorer) -> None:
    alone = [model.score(text) for text in TEXTS]
    batch = list(model.score_many([text] for text in TEXTS))
    reverse = list(model.score_many([text] for text in reversed(TEXTS)))[::-1]
    for one, two, three in zip(alone, batch, reverse, strict=True):
        assert isinstance(two, Score)
        assert isinstance(three, Score)
        assert one.tokens == two.tokens == three.tokens
        assert two.nll == pytest.approx(one.nll, rel=1e-5)
        assert three.nll == pytest.approx(one.nll, rel=1e-5)
    if isinstance(model.scorer, NumpyScorer):
        assert alone == batch == reverse  # to the last bit


@pytest.mark.parametrize("stride", [None, 1, 50, 128])
def test_f3_as_many_tokens_as_the_text_has_around_every_edge(
    model: TextScorer, stride: int | None
) -> None:
    ids = model.tokenizer.encode("word " * 400)
    for count in (0, 1, 2, 127, 128, 129, 191, 192, 193, 257):
        text = model.tokenizer.decode_bytes(ids[:count]).decode()
        expected = len(model.tokenizer.encode(text))
        assert _score(model, text, stride=stride).tokens == expected


def test_f3_several_texts_together_are_pooled_not_averaged() -> None:
    parts = [NllStats(tokens=1, bytes=2, nll=3.0), NllStats(tokens=9, bytes=10, nll=1.0)]
    pooled = NllStats.pooled(parts)
    assert pooled.perplexity == pytest.approx(math.exp(4 / 10))
    assert pooled.bits_per_byte == pytest.approx(4 / 12 / math.log(2))


@pytest.mark.parametrize("text", ["", "\ufeff"])
def test_nothing_gives_null_and_never_nan(model: TextScorer, text: str) -> None:
    score = _score(model, text, lines=True, tokens=True)
    assert (score.tokens, score.bytes, score.nll, score.windows) == (0, 0, 0.0, 0)
    assert score.bits_per_byte is None
    assert score.perplexity is None
    assert NllStats(tokens=1, bytes=1, nll=800.0).perplexity is None  # e^800 is no float


def _tiles(spans: Sequence[Any], start: int, end: int) -> bool:
    edges = [start, *(span.end for span in spans)]
    return edges[:-1] == [span.start for span in spans] and edges[-1] == end


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte-order-mark"])
@pytest.mark.parametrize("mode", [M.STRIDED, M.DISJOINT])
@pytest.mark.parametrize("place", range(len(TEXTS)))
def test_f4_lines_and_tokens_tile_the_file(
    model: TextScorer, place: int, mode: WindowMode, mark: str
) -> None:
    text = mark + TEXTS[place]
    data = text.encode()
    score = _score(model, text, mode=mode, lines=True, tokens=True)
    assert _tiles(score.lines, 0, len(data))
    assert _tiles(score.token_scores, len(mark.encode()), len(data))
    assert [data[line.start : line.end] for line in score.lines] == [
        line + b"\n" if number < data.count(b"\n") else line
        for number, line in enumerate(data.split(b"\n"))
        if line or number < data.count(b"\n")
    ]
    for number, line in enumerate(score.lines, 1):
        assert line.line == number
        own = [t for t in score.token_scores if line.start <= t.start < line.end]
        assert len(own) == line.tokens
        assert {token.line for token in own} <= {number}
    assert sum(line.nll for line in score.lines) == pytest.approx(score.nll)
    assert sum(line.bytes for line in score.lines) == score.bytes
    assert -sum(token.logprob for token in score.token_scores) == pytest.approx(score.nll)
    for token in score.token_scores:
        assert model.tokenizer.token_bytes(token.id) == data[token.start : token.end]


def test_a_token_over_a_line_end_shares_itself_by_bytes(model: TextScorer) -> None:
    score = _score(model, SAMPLE, lines=True, tokens=True)
    data = SAMPLE.encode()
    crossing = [t for t in score.token_scores if b"\n" in data[t.start : t.end - 1]]
    assert crossing  # the sample's blank lines and indentation
    for line in score.lines:
        expected = sum(
            -token.logprob
            * max(min(token.end, line.end) - max(token.start, line.start), 0)
            / (token.end - token.start)
            for token in score.token_scores
        )
        assert line.nll == pytest.approx(expected)


def test_special_tokens_in_a_text_are_data(model: TextScorer) -> None:
    text = "<|endoftext|><fim_middle>"
    score = _score(model, text, tokens=True)
    assert score.bytes == len(text)
    assert not {token.id for token in score.token_scores} & model.tokenizer.control_ids


@pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
def test_the_pieces_that_a_text_comes_in_do_not_matter(model: TextScorer, size: int) -> None:
    pieces = [LONG[place : place + size] for place in range(0, len(LONG), size)]
    assert next(model.score_many([pieces])) == model.score(LONG)


def test_a_text_in_portions_has_the_tokens_of_the_whole(
    model: TextScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt_bigcode.windowing.document_stream.PIECE_CHARACTERS", 40)
    text = LONG + "\n\n \n  x  \n\t\t y\u00a0 z\u2003\n" + " " * 8 + "\r\n\r\n 12 34"
    portions = list(cut_at_white_space([text]))
    assert len(portions) > 25
    assert "".join(portions) == text
    ids = [token for portion in portions for token in model.tokenizer.encode(portion)]
    assert ids == model.tokenizer.encode(text)
    for before, after in pairwise(portions):
        assert not before[-1].isspace()
        assert after[0].isspace()


def test_a_text_without_white_space_is_still_cut() -> None:
    text = "x" * (2 * PIECE_CHARACTERS + 5)
    assert list(map(len, cut_at_white_space([text]))) == [PIECE_CHARACTERS, PIECE_CHARACTERS, 5]


def _broken() -> Iterator[str]:
    yield "some text "
    raise OSError("gone")


def test_one_text_that_cannot_be_read_does_not_stop_the_others(model: TextScorer) -> None:
    done = list(model.score_many([["a b"], _broken(), [LONG], ["\udcff"], ["a b"]]))
    for place in (0, 4):
        outcome = done[place]
        assert isinstance(outcome, Score)
        assert outcome.nll == pytest.approx(model.score("a b").nll, rel=1e-5)
    assert isinstance(done[1], OSError)
    assert isinstance(done[2], Score)
    assert isinstance(done[3], InputError)


def test_a_long_text_in_one_window_is_an_error_of_that_text(model: TextScorer) -> None:
    done = list(model.score_many([["a b"], [LONG]], ScoreOptions(mode=M.FULL)))
    assert done[0] == model.score("a b")
    assert isinstance(done[1], ContextError)
    with pytest.raises(ContextError):
        model.score(LONG, ScoreOptions(mode=M.FULL))


def test_a_stride_beyond_the_context_is_refused_at_once(model: TextScorer) -> None:
    with pytest.raises(OptionError, match="stride: 129 is not 1 to 128"):
        model.score_many([], ScoreOptions(stride=129))


def test_numbers_that_are_none_are_an_error(tiny_checkpoint: Path) -> None:
    broken: Any = load_model(tiny_checkpoint)
    with torch.no_grad():
        broken.transformer.ln_f.weight[3] = torch.nan
    decoder = NumpyDecoder.load(tiny_checkpoint)
    decoder._weights["ln_f.weight"] = np.full_like(decoder._weights["ln_f.weight"], np.nan)  # type: ignore[index]
    for scorer in (TorchScorer(broken), NumpyScorer(decoder)):
        with pytest.raises(NonFiniteError):
            scorer.log_probabilities([ScoredRow([0, 1, 2], 1)])


def test_logits_are_made_for_a_few_positions_at_a_time(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = NumpyDecoder.load(tiny_checkpoint)
    row = ScoredRow(list(range(100)), 17)
    expected = NumpyScorer(decoder).log_probabilities([row])[0]
    heights: list[int] = []
    head = decoder.head

    def measured(states: Floats) -> Floats:
        heights.append(len(states))
        return head(states)

    monkeypatch.setattr(decoder, "head", measured)
    monkeypatch.setattr(
        "gpt_bigcode.backends.numpy_heads._LOGITS_AT_ONCE", 10 * decoder.vocabulary_size
    )
    monkeypatch.setattr("gpt_bigcode.backends.numpy_decoder._CHUNK_TOKENS", 32)
    assert NumpyScorer(decoder).log_probabilities([row])[0] == pytest.approx(expected, rel=1e-5)
    assert max(heights) == 10
    assert sum(heights) == 100 - 17


def test_load_gives_the_same_numbers(tiny_checkpoint: Path) -> None:
    plain = TextScorer.load(tiny_checkpoint)
    heavy = TextScorer.load(tiny_checkpoint, device="cpu", precision="bfloat16")
    assert isinstance(plain.scorer, NumpyScorer)
    assert isinstance(heavy.scorer, TorchScorer)
    assert plain.name == tiny_checkpoint.name
    assert heavy.score(SAMPLE).nll == pytest.approx(plain.score(SAMPLE).nll, rel=0.05)
