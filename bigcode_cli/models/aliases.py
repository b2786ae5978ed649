"""Short names of the published checkpoints of the family.

Knows nothing of which of them are here.
"""

from types import MappingProxyType

SHORT_NAMES = MappingProxyType(
    {
        "santacoder": "bigcode/gpt_bigcode-santacoder",
        "tiny_starcoder_py": "bigcode/tiny_starcoder_py",
        "starcoderbase-1b": "bigcode/starcoderbase-1b",
        "starcoderbase-3b": "bigcode/starcoderbase-3b",
        "starcoderbase-7b": "bigcode/starcoderbase-7b",
        "starcoderbase": "bigcode/starcoderbase",
        "starcoder": "bigcode/starcoder",
        "starcoderplus": "bigcode/starcoderplus",
        "octocoder": "bigcode/octocoder",
        "starchat-alpha": "HuggingFaceH4/starchat-alpha",
        "starchat-beta": "HuggingFaceH4/starchat-beta",
        "granite-20b-code-base": "ibm-granite/granite-20b-code-base",
        "granite-20b-code-instruct": "ibm-granite/granite-20b-code-instruct",
        "granite-34b-code-base": "ibm-granite/granite-34b-code-base",
        "granite-34b-code-instruct": "ibm-granite/granite-34b-code-instruct",
    }
)
"""Short name -> repository; every one of them is a GPTBigCode model."""


def full_name(name: str) -> str:
    """Return the repository that a short name stands for, or the name itself."""
    return SHORT_NAMES.get(name, name)
