"""Writes tokens with a decoder, with and without speculation."""

from collections.abc import Sequence
from typing import Any

from gpt_bigcode.backends.interfaces import StepDecoder
from gpt_bigcode.generation.loop import Generation, Limits, Sampler
from gpt_bigcode.generation.speculative import SpeculativeDecoder
from gpt_bigcode.stopping.text_stop import FinishReason


def write(
    decoder: StepDecoder,
    prompt: Sequence[int],
    *,
    sampler: Sampler | None = None,
    speculate: bool = True,
    tokens: int = 60,
    **options: Any,
) -> tuple[list[int], FinishReason | None]:
    sampler = sampler or Sampler()
    ahead = SpeculativeDecoder(decoder, sampler=sampler, max_tokens=tokens)
    batch = Generation(
        ahead if speculate else decoder, [prompt], sampler=sampler, limits=Limits(tokens), **options
    )
    written = [token.id for step in batch for token in step]
    assert not speculate or ahead.accepted <= ahead.drafted
    return written, batch.reasons[0]
