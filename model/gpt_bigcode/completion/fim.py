"""From the text around a gap to the ids that a model reads to fill it; knows no model.

The forms are those of the family's training (Megatron-LM, `gpt_dataset.permute`): prefix, suffix
and middle were tokenized apart, so they are here, and every control token comes in by its id.

In SPM order nothing but an unusual token tells where the prefix ended in training, and the same
tells where the middle ended. A prompt that ends with one invites the end token at once: the
built-in model then left 57 of 60 gaps empty. So the prefix's last token is spelled anew there (see
`healing`); in PSM order a control token stands at the border, and none is needed.

A checkpoint that is better in one of the orders says so in config.json:
`"infilling": {"order": "spm"}`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from gpt_bigcode.completion.prompt import Prompt, PromptLayout, has_crlf, lay_out_files
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ConfigError, ContextError, OptionError
from gpt_bigcode.tokenization.chunks import BYTE_ORDER_MARK
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer, InfillTokens

SENTINELS = 3
"""Control tokens of a prompt."""
FIELD = "infilling"
"""The object in config.json."""

# Of four tokens that do not all fit, three stand before the gap and one behind it.
_PREFIX_SHARE, _SHARES = 3, 4


class InfillOrder(StrEnum):
    """In which order the model reads what surrounds the gap.

    PSM: `<fim_prefix>` P `<fim_suffix>` S `<fim_middle>`.
    SPM: `<fim_prefix>` `<fim_suffix>` S `<fim_middle>` P, the second variant of the training.
    """

    PSM = "psm"
    SPM = "spm"

    @classmethod
    def parse(cls, name: str) -> Self:
        """The order of that name.

        Raises:
            OptionError: there is none.
        """
        try:
            return cls(name)
        except ValueError:
            raise OptionError(f"order: {name!r} is not one of {', '.join(cls)}") from None

    @classmethod
    def of(cls, config: GPTBigCodeConfig) -> Self:
        """The order that a checkpoint fills best in, by its config.json; PSM if it says none.

        Raises:
            ConfigError: it says something else.
        """
        field: object = config.extra.get(FIELD, {})
        name = field.get("order", cls.PSM) if isinstance(field, Mapping) else None
        if name not in tuple(cls):
            raise ConfigError(f'config.json: {FIELD}: not {{"order": "psm"}} or "spm"')
        return cls(name)


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A place in a text: what stands before it and what stands behind it; both may be empty."""

    prefix: str
    suffix: str


def build_infill_prompt(
    tokenizer: CodeTokenizer,
    gap: Gap,
    layout: PromptLayout,
    *,
    order: InfillOrder = InfillOrder.PSM,
) -> Prompt:
    """Lay out the text around a gap, and other files in front of its prefix.

    What does not fit is cut at its far end: of the room that the control tokens leave, three
    quarters belong to the prefix and one to the suffix, and what one of them does not need is the
    other's. Files get at most half the room, and only what prefix and suffix leave. In SPM order
    the prefix's last token is left to the model if the layout says so.

    Raises:
        InfillUnsupportedError: the vocabulary has no sentinels.
        ContextError: the text does not fit and may not be truncated, or there is no room at all.
        InputError: text that the tokenizer cannot hold.
    """
    sentinels = tokenizer.require_infill()
    prefix = gap.prefix.removeprefix(BYTE_ORDER_MARK)
    suffix = gap.suffix
    crlf = has_crlf(prefix + suffix)
    if crlf:
        prefix, suffix = (text.replace("\r\n", "\n") for text in (prefix, suffix))
    room = layout.room - SENTINELS
    if room < 0:
        raise ContextError(
            f"a context of {layout.context_length} tokens is too small for infilling"
        )
    before, after, dropped = _share(tokenizer, Gap(prefix=prefix, suffix=suffix), room)
    if any(dropped) and not layout.truncate:
        raise ContextError(
            f"the text has {len(before) + len(after) + sum(dropped)} tokens, the model has room "
            f"for {room} beside {layout.context_length - layout.room} new ones"
        )
    left = 0 if any(dropped) else min(layout.room // 2, room - len(before) - len(after))
    files, dropped_files = lay_out_files(tokenizer, layout, left)
    heal = layout.heal and order is InfillOrder.SPM and bool(before)
    healed = tokenizer.token_bytes(before.pop()) if heal else b""
    return Prompt(
        ids=_arrange(sentinels, files + before, after, order),
        text=prefix,
        suffix=suffix,
        crlf=crlf,
        healed=healed,
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
