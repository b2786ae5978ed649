"""From the text around a gap to the ids that a model reads to fill it.

The spellings of the sentinels, and the error where there are none, are the tokenizer's.

The forms are those of the family's training (Megatron-LM, `gpt_dataset.permute`): prefix, suffix
and middle were tokenized apart, so they are here, and every control token comes in by its id.

In SPM order nothing but an unusual token tells where the prefix ended in training, and the same
tells where the middle ended. A prompt that ends with one invites the end token at once: the
built-in model then left 57 of 60 gaps empty. So the prefix's last token is regenerated there (see
`token_masks.Healing`); in PSM order a control token marks the border, and none is needed.

A checkpoint that is better in one of the orders says so in config.json:
`"infilling": {"order": "spm"}`.
"""

from dataclasses import dataclass

from gpt_bigcode.completion.options import InfillOptions, InfillOrder
from gpt_bigcode.completion.prompt import ModelSpace, Prompt, before_text, lay_out_context
from gpt_bigcode.errors import ContextError
from gpt_bigcode.stopping.text_stop import Scope
from gpt_bigcode.text_form import has_crlf, to_lf, without_mark
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer, InfillTokens

SENTINELS = 3
"""Control tokens of a prompt."""

# Of four tokens that do not all fit, three are before the gap and one is after it.
_PREFIX_SHARE, _SHARES = 3, 4


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A place in a text: what is before it and what is after it; both may be empty."""

    prefix: str
    suffix: str

    @property
    def scope(self) -> Scope:
        """What an answer should end with: the line if the gap shares it, else the block."""
        prefix = without_mark(self.prefix)
        before = prefix[prefix.rfind("\n") + 1 :]
        after = self.suffix.split("\n", 1)[0]
        return Scope.LINE if before.strip() or after.strip() else Scope.BLOCK


def build_infill_prompt(
    tokenizer: CodeTokenizer,
    gap: Gap,
    options: InfillOptions,
    space: ModelSpace,
    *,
    order: InfillOrder = InfillOrder.PSM,
) -> Prompt:
    """Lay out the text around a gap, and other files in front of its prefix.

    What does not fit is cut at its far end: of the room that the control tokens leave, three
    quarters belong to the prefix and one to the suffix, and what one of them does not need is the
    other's. Files get at most half the room, and only what prefix and suffix leave. In SPM order
    the prefix's last token is left to the model if the options say so.

    Args:
        tokenizer: makes ids of text.
        gap: the place.
        options: what was asked for; `order` is not read here.
        space: what the model has room for.
        order: in which order the model reads.

    Raises:
        InfillUnsupportedError: the vocabulary has no sentinels.
        ContextError: the text does not fit and may not be truncated, or there is no room for it.
        InputError: text that the tokenizer cannot hold.
    """
    sentinels = tokenizer.require_infill()
    prefix = without_mark(gap.prefix)
    suffix = gap.suffix
    crlf = has_crlf(prefix + suffix)
    if crlf:
        prefix, suffix = to_lf(prefix), to_lf(suffix)
    whole = space.room(options)
    room = whole - SENTINELS
    if room < 0:
        raise ContextError(f"a context of {space.context_length} tokens is too small for infilling")
    before, after, dropped = _share(tokenizer, Gap(prefix=prefix, suffix=suffix), room)
    if any(dropped):
        tokens = len(before) + len(after) + sum(dropped)
        space.require_truncation(options, "the text", tokens, room)
    left = 0 if any(dropped) else min(whole // 2, room - len(before) - len(after))
    files, dropped_files = lay_out_context(tokenizer, options, left)
    heal = options.heal and order is InfillOrder.SPM and bool(before)
    healed = tokenizer.token_bytes(before.pop()) if heal else b""
    return Prompt(
        ids=_arrange(sentinels, files + before, after, order),
        text=prefix,
        suffix=suffix,
        crlf=crlf,
        healed=healed,
        before=before_text(prefix, healed),
        dropped_tokens=dropped[0],
        dropped_suffix_tokens=dropped[1],
        dropped_context_tokens=dropped_files,
    )


def _share(
    tokenizer: CodeTokenizer, gap: Gap, room: int
) -> tuple[list[int], list[int], tuple[int, int]]:
    """Ids of prefix and suffix, together at most `room`, and how many of each were dropped."""
    before, dropped_before = tokenizer.encode_tail(gap.prefix, room)
    after, dropped_after = tokenizer.encode_head(gap.suffix, room)
    if len(before) + len(after) <= room:
        return before, after, (dropped_before, dropped_after)
    mine = max(room * _PREFIX_SHARE // _SHARES, room - len(after) - dropped_after)
    # The suffix first: what its cut at a line end leaves over is the prefix's.
    after, dropped_after = tokenizer.encode_head(
        gap.suffix, room - min(mine, len(before) + dropped_before)
    )
    before, dropped_before = tokenizer.encode_tail(gap.prefix, room - len(after))
    return before, after, (dropped_before, dropped_after)


def _arrange(
    sentinels: InfillTokens, before: list[int], after: list[int], order: InfillOrder
) -> tuple[int, ...]:
    if order is InfillOrder.SPM:
        return (sentinels.prefix, sentinels.suffix, *after, sentinels.middle, *before)
    return (sentinels.prefix, *before, sentinels.suffix, *after, sentinels.middle)
