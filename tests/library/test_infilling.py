"""From the text around a gap to the ids of a prompt: forms, budget, counts."""

from pathlib import Path

import pytest

from gpt_bigcode.completion.fim import SENTINELS, Gap, build_infill_prompt
from gpt_bigcode.completion.options import ContextFile, InfillOptions, InfillOrder
from gpt_bigcode.completion.prompt import ModelSpace, Prompt
from gpt_bigcode.errors import ContextError, InfillUnsupportedError, OptionError
from gpt_bigcode.stopping.text_stop import Scope
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from training import documents

ORDERS = tuple(InfillOrder)


Layout = tuple[InfillOptions, ModelSpace]


def _layout(context: int = 4096, max_tokens: int = 16, **more: object) -> Layout:
    if "files" in more:
        more["context_files"] = more.pop("files")
    options = InfillOptions(max_tokens=max_tokens, **{"heal": False, **more})  # type: ignore[arg-type]
    return options, ModelSpace(context, 0)


def room_of(layout: Layout) -> int:
    options, space = layout
    return space.room(options)


def _load(folder: Path) -> CodeTokenizer:
    return CodeTokenizer.from_file(folder / "tokenizer.json")


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> CodeTokenizer:
    return _load(tiny_checkpoint)


def _build(
    tokenizer: CodeTokenizer,
    prefix: str,
    suffix: str,
    layout: Layout | None = None,
    order: InfillOrder = InfillOrder.PSM,
) -> Prompt:
    gap = Gap(prefix=prefix, suffix=suffix)
    return build_infill_prompt(tokenizer, gap, *(layout or _layout()), order=order)


def _sides(tokenizer: CodeTokenizer, prompt: Prompt, order: InfillOrder) -> tuple[str, str]:
    """The texts of prefix and suffix in a prompt, which must have the form of its order."""
    tokens = tokenizer.require_infill()
    ids = list(prompt.ids)
    assert [ids.count(token) for token in (tokens.prefix, tokens.suffix, tokens.middle)] == [1] * 3
    middle, suffix = ids.index(tokens.middle), ids.index(tokens.suffix)
    assert ids[0] == tokens.prefix
    if order is InfillOrder.PSM:
        assert middle == len(ids) - 1
        before, after = ids[1:suffix], ids[suffix + 1 : middle]
    else:
        assert suffix == 1
        before, after = ids[middle + 1 :], ids[2:middle]
    return tokenizer.decode_bytes(before).decode(), tokenizer.decode_bytes(after).decode()


@pytest.mark.parametrize("name", ["tiny_checkpoint", "tiny_santacoder_checkpoint"])
def test_b1_the_forms_of_the_training(name: str, request: pytest.FixtureRequest) -> None:
    """StarCoder's and Granite's spelling, and SantaCoder's; each sentinel is one known id."""
    tokenizer = _load(request.getfixturevalue(name))
    dash = "-" if "santacoder" in name else "_"
    prefix, suffix, middle = (
        tokenizer.special_ids[f"<fim{dash}{part}>"] for part in ("prefix", "suffix", "middle")
    )
    a, b = tokenizer.encode("def f("), tokenizer.encode("):\n")
    psm = _build(tokenizer, "def f(", "):\n")
    assert psm.ids == (prefix, *a, suffix, *b, middle)
    spm = _build(tokenizer, "def f(", "):\n", order=InfillOrder.SPM)
    assert spm.ids == (prefix, suffix, *b, middle, *a)
    assert _trained_on(a, b, tokenizer) == (psm.ids, spm.ids)
    assert (psm.text, psm.suffix, psm.crlf) == ("def f(", "):\n", False)


def _trained_on(
    before: list[int], after: list[int], tokenizer: CodeTokenizer
) -> tuple[tuple[int, ...], ...]:
    """What the recipe of the built-in model trains on, up to the middle, in both orders."""
    ours = tokenizer.require_infill()
    theirs = {
        documents.PREFIX: ours.prefix,
        documents.MIDDLE: ours.middle,
        documents.SUFFIX: ours.suffix,
    }
    rows = [documents.arrange(before, [], after, order=order) for order in documents.Order]
    return tuple(tuple(theirs.get(token, token) for token in row) for row in rows)


HEALED = ("def f(x):\n    ", "x", "return wid", "é", "a = [\n\n")


@pytest.mark.parametrize("prefix", HEALED)
def test_in_spm_order_the_last_token_is_left_to_the_model(
    tokenizer: CodeTokenizer, prefix: str
) -> None:
    layout = _layout(heal=True)
    tokens = tokenizer.require_infill()
    *kept, last = tokenizer.encode(prefix)
    suffix = tokenizer.encode("\ny\n")
    spm = _build(tokenizer, prefix, "\ny\n", layout, InfillOrder.SPM)
    assert spm.ids == (tokens.prefix, tokens.suffix, *suffix, tokens.middle, *kept)
    assert (spm.healed, spm.text) == (tokenizer.token_bytes(last), prefix)
    psm = _build(tokenizer, prefix, "\ny\n", layout)
    assert psm.healed == b""
    assert psm.ids == (tokens.prefix, *kept, last, tokens.suffix, *suffix, tokens.middle)


def test_no_prefix_has_nothing_to_heal(tokenizer: CodeTokenizer) -> None:
    file = (ContextFile("a.py", "a = 1\n"),)
    prompt = _build(tokenizer, "", "b", _layout(heal=True, files=file), InfillOrder.SPM)
    assert prompt.healed == b""
    assert prompt == _build(tokenizer, "", "b", _layout(files=file), InfillOrder.SPM)


def test_prefix_and_suffix_are_tokenized_apart(tokenizer: CodeTokenizer) -> None:
    """A gap inside a word: its halves are not joined to one token."""
    whole = tokenizer.encode("return width")
    for cut in range(len("return width") + 1):
        prompt = _build(tokenizer, "return width"[:cut], "return width"[cut:])
        assert _sides(tokenizer, prompt, InfillOrder.PSM)[0] == "return width"[:cut]
    inside = _build(tokenizer, "ret", "urn width")
    assert len(inside.ids) - SENTINELS > len(whole)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("prefix", "suffix"), [("", ""), ("", "b"), ("a", "")])
def test_an_empty_side_stays_infilling(
    tokenizer: CodeTokenizer, prefix: str, suffix: str, order: InfillOrder
) -> None:
    prompt = _build(tokenizer, prefix, suffix, order=order)
    assert _sides(tokenizer, prompt, order) == (prefix, suffix)


@pytest.mark.parametrize("order", ORDERS)
def test_b3_spelled_sentinels_are_text(tokenizer: CodeTokenizer, order: InfillOrder) -> None:
    everything = "".join(tokenizer.special_ids)
    prompt = _build(tokenizer, f"a {everything}", f"{everything} b", order=order)
    assert _sides(tokenizer, prompt, order) == (f"a {everything}", f"{everything} b")


def test_a_vocabulary_without_sentinels(tiny_plain_checkpoint: Path) -> None:
    with pytest.raises(InfillUnsupportedError, match="sentinel"):
        _build(_load(tiny_plain_checkpoint), "a", "b")


def _tokens(tokenizer: CodeTokenizer, text: str) -> int:
    return len(tokenizer.encode(text))


PREFIX = "".join(f"before_{number} = {number}\n" for number in range(300)) + "last line before "
SUFFIX = " first line after\n" + "".join(f"after_{number} = {number}\n" for number in range(300))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("max_tokens", [1, 64, 10**6])
@pytest.mark.parametrize("context", [64, 100, 256, 1000])
def test_d2_what_is_next_to_the_gap_is_kept_and_counted(
    tokenizer: CodeTokenizer, context: int, max_tokens: int, order: InfillOrder
) -> None:
    layout = _layout(context, max_tokens)
    prompt = _build(tokenizer, PREFIX, SUFFIX, layout, order)
    before, after = _sides(tokenizer, prompt, order)
    assert PREFIX.endswith(before)
    assert SUFFIX.startswith(after)
    assert "last line before " in before
    assert " first l" in after
    room = room_of(layout) - SENTINELS
    assert len(prompt.ids) <= room_of(layout)
    kept_before, kept_after = _tokens(tokenizer, before), _tokens(tokenizer, after)
    assert kept_before + kept_after == len(prompt.ids) - SENTINELS
    assert prompt.dropped_tokens == _tokens(tokenizer, PREFIX) - kept_before
    assert prompt.dropped_suffix_tokens == _tokens(tokenizer, SUFFIX) - kept_after
    # Cut at lines, so not to the last token; three to one all the same.
    assert kept_after <= room - room * 3 // 4
    assert kept_before >= room * 3 // 8


@pytest.mark.parametrize("size", [0, 1, 5])
def test_what_one_side_does_not_need_is_the_other_s(tokenizer: CodeTokenizer, size: int) -> None:
    layout = _layout(200, 20)
    room = room_of(layout) - SENTINELS
    line = "x = 1; " * 400  # no line to cut at
    short = "x = 1; " * size
    needed = _tokens(tokenizer, short)
    long_prefix = _build(tokenizer, line, short, layout)
    assert _sides(tokenizer, long_prefix, InfillOrder.PSM)[1] == short
    assert len(long_prefix.ids) == room_of(layout)
    assert long_prefix.dropped_tokens == _tokens(tokenizer, line) - (room - needed)
    assert long_prefix.dropped_suffix_tokens == 0
    long_suffix = _build(tokenizer, short, line, layout)
    assert _sides(tokenizer, long_suffix, InfillOrder.PSM)[0] == short
    assert len(long_suffix.ids) == room_of(layout)
    assert long_suffix.dropped_tokens == 0
    assert long_suffix.dropped_suffix_tokens == _tokens(tokenizer, line) - (room - needed)


def test_without_lines_the_shares_are_exact(tokenizer: CodeTokenizer) -> None:
    layout = _layout(203, 100)
    prompt = _build(tokenizer, "a " * 400, "b " * 400, layout)
    before, after = _sides(tokenizer, prompt, InfillOrder.PSM)
    assert room_of(layout) - SENTINELS == 100
    assert (_tokens(tokenizer, before), _tokens(tokenizer, after)) == (75, 25)


@pytest.mark.parametrize("context", range(1, 12))
def test_d1_no_context_is_too_small_to_say_so(tokenizer: CodeTokenizer, context: int) -> None:
    layout = _layout(context, 4)
    if room_of(layout) < SENTINELS:
        with pytest.raises(ContextError, match="too small"):
            _build(tokenizer, "a" * 50, "b" * 50, layout)
        return
    prompt = _build(tokenizer, "a" * 50, "b" * 50, layout)
    assert len(prompt.ids) <= room_of(layout)


def test_no_truncation_is_an_error_with_both_numbers(tokenizer: CodeTokenizer) -> None:
    layout = _layout(100, 10, truncate=False)
    total = _tokens(tokenizer, PREFIX) + _tokens(tokenizer, SUFFIX)
    with pytest.raises(ContextError, match=rf"{total} tokens.* room for 87 beside 10"):
        _build(tokenizer, PREFIX, SUFFIX, layout)
    assert _build(tokenizer, "a", "b", layout).dropped_tokens == 0


def test_a_huge_text_is_not_tokenized_whole(tokenizer: CodeTokenizer) -> None:
    prompt = _build(tokenizer, "x" * 10**7, "y" * 10**7, _layout(128, 16))
    assert len(prompt.ids) <= 112
    assert prompt.dropped_tokens == pytest.approx(10**7, rel=0.01)
    assert prompt.dropped_suffix_tokens == pytest.approx(10**7, rel=0.01)


def test_line_ends_and_byte_order_mark(tokenizer: CodeTokenizer) -> None:
    prompt = _build(tokenizer, "\ufeffa\r\n", "\r\nb\r\n")
    assert (prompt.text, prompt.suffix, prompt.crlf) == ("a\n", "\nb\n", True)
    assert prompt.ids == _build(tokenizer, "a\n", "\nb\n").ids
    assert _build(tokenizer, "\ufeff\ufeffa", "").text == "\ufeffa"
    assert Gap(prefix="\ufeff", suffix="\nx\n").scope is Scope.BLOCK
    mixed = _build(tokenizer, "a\r\n", "b\nc\n")
    assert (mixed.text, mixed.suffix, mixed.crlf) == ("a\r\n", "b\nc\n", False)


@pytest.mark.parametrize("order", ORDERS)
def test_files_stand_in_front_of_the_prefix(tokenizer: CodeTokenizer, order: InfillOrder) -> None:
    """As in training: what names files is part of the document, behind the sentinel."""
    files = (ContextFile("a.py", "A = 1"),)
    prompt = _build(tokenizer, "B", "C", _layout(files=files, path="b.py"), order)
    assert _sides(tokenizer, prompt, order) == ("a.py\nA = 1\nb.py\nB", "C")
    assert tokenizer.repository is not None
    assert prompt.ids.count(tokenizer.repository.file) == 2
    cut = _build(tokenizer, PREFIX, SUFFIX, _layout(200, files=files, path="b.py"), order)
    assert tokenizer.repository.file not in cut.ids
    assert cut.dropped_context_tokens == _tokens(tokenizer, "A = 1\n")


def test_files_for_a_vocabulary_without_file_names(tiny_santacoder_checkpoint: Path) -> None:
    tokenizer = _load(tiny_santacoder_checkpoint)
    files = (ContextFile("a.py", "A = 1"),)
    prompt = _build(tokenizer, "B", "C", _layout(files=files))
    assert _sides(tokenizer, prompt, InfillOrder.PSM) == ("# a.py\nA = 1\nB", "C")


def test_an_order_that_is_none() -> None:
    assert InfillOptions(order="spm").order is InfillOrder.SPM
    with pytest.raises(OptionError, match="order: 'msp'"):
        InfillOptions(order="msp")
