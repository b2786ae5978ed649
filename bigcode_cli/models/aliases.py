"""The published checkpoints of the family that have short names."""

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class PublishedModel:
    """A GPTBigCode model on the hub.

    Attributes:
        name: its short name.
        repository: where it is.
        parameters: how many it has, as its card says.
        is_gated: whether its licence must be accepted first.
    """

    name: str
    repository: str
    parameters: int
    is_gated: bool = False


_M, _B = 10**6, 10**9
PUBLISHED = (
    PublishedModel("tiny_starcoder_py", "bigcode/tiny_starcoder_py", 164 * _M),
    PublishedModel("santacoder", "bigcode/gpt_bigcode-santacoder", 1_100 * _M),
    PublishedModel("starcoderbase-1b", "bigcode/starcoderbase-1b", 1_100 * _M, is_gated=True),
    PublishedModel("starcoderbase-3b", "bigcode/starcoderbase-3b", 3 * _B, is_gated=True),
    PublishedModel("starcoderbase-7b", "bigcode/starcoderbase-7b", 7 * _B, is_gated=True),
    PublishedModel("starcoderbase", "bigcode/starcoderbase", 15_500 * _M, is_gated=True),
    PublishedModel("starcoder", "bigcode/starcoder", 15_500 * _M, is_gated=True),
    PublishedModel("starcoderplus", "bigcode/starcoderplus", 15_500 * _M, is_gated=True),
    PublishedModel("octocoder", "bigcode/octocoder", 15_500 * _M),
    PublishedModel("starchat-alpha", "HuggingFaceH4/starchat-alpha", 15_500 * _M),
    PublishedModel("starchat-beta", "HuggingFaceH4/starchat-beta", 15_500 * _M),
    PublishedModel("granite-20b-code-base", "ibm-granite/granite-20b-code-base", 20 * _B),
    PublishedModel("granite-20b-code-instruct", "ibm-granite/granite-20b-code-instruct", 20 * _B),
    PublishedModel("granite-34b-code-base", "ibm-granite/granite-34b-code-base", 34 * _B),
    PublishedModel("granite-34b-code-instruct", "ibm-granite/granite-34b-code-instruct", 34 * _B),
)
SHORT_NAMES = MappingProxyType({model.name: model.repository for model in PUBLISHED})
"""Short name -> repository."""


def full_name(name: str) -> str:
    """Return the repository that a short name stands for, or the name itself."""
    return SHORT_NAMES.get(name, name)


def meant(name: str, known: Iterable[str]) -> str | None:
    """Suggest a name: one with this prefix, or else a similar one."""
    from difflib import get_close_matches

    names = [*known]
    begun = [one for one in names if one.startswith(name)]
    return next(iter(begun or get_close_matches(name, names, n=1)), None)
