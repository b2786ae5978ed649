"""The oracle of decoding: one row, no cache, the whole text read again for every token."""

from collections.abc import Callable, Collection, Sequence

from gpt_bigcode.generation.loop import (
    FloatArray,
    GeneratedToken,
    Sampler,
    choose_token,
    row_generators,
)


def naive_generate(
    forward: Callable[[Sequence[int]], FloatArray],
    prompt: Sequence[int],
    *,
    sampler: Sampler | None = None,
    max_tokens: int = 128,
    end_ids: Collection[int] = (),
    seed: int | None = None,
) -> list[GeneratedToken]:
    """What row 0 of a `Generation` has to write.

    Args:
        forward: token ids -> [V], the logits of the next token.
        prompt: token ids.
        sampler: as for `Generation`.
        max_tokens: new tokens; the caller keeps the context limit.
        end_ids: as for `Generation`.
        seed: as for `Generation`.
    """
    generator = row_generators(seed, 1)[0]
    tokens: list[GeneratedToken] = []
    while len(tokens) < max_tokens:
        written = [token.id for token in tokens]
        token = choose_token(forward([*prompt, *written]), written, sampler or Sampler(), generator)
        if token.id in end_ids:
            break
        tokens.append(token)
    return tokens
