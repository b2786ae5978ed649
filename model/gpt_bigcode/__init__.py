"""GPTBigCode: GPT-2 with multi-query attention, from text or token ids to values.

    from gpt_bigcode import TextModel

    model = TextModel.load("pocket-coder")
    print(model.complete("def area(width, height):").choices[0].text)

The library never prints and never exits; its errors are in `gpt_bigcode.errors`. Importing it is
cheap: what computes is imported when it is first used.

Shapes in docstrings: B batch, T new tokens, S tokens seen (cached and new), H heads, K key/value
heads, D head size, E width, V vocabulary, L layers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt_bigcode.completion.options import CompletionOptions, InfillOptions
    from gpt_bigcode.completion.text_model import TextModel
    from gpt_bigcode.config import GPTBigCodeConfig
    from gpt_bigcode.labeling.options import TagOptions
    from gpt_bigcode.labeling.text_classifier import TextClassifier
    from gpt_bigcode.labeling.text_tagger import TextTagger
    from gpt_bigcode.modeling.heads import (
        GPTBigCodeForCausalLM,
        GPTBigCodeForSequenceClassification,
        GPTBigCodeForTokenClassification,
    )
    from gpt_bigcode.modeling.transformer import GPTBigCodeModel
    from gpt_bigcode.scoring.results import ScoreOptions
    from gpt_bigcode.scoring.text_scorer import TextScorer

__all__ = [
    "CompletionOptions",
    "GPTBigCodeConfig",
    "GPTBigCodeForCausalLM",
    "GPTBigCodeForSequenceClassification",
    "GPTBigCodeForTokenClassification",
    "GPTBigCodeModel",
    "InfillOptions",
    "ScoreOptions",
    "TagOptions",
    "TextClassifier",
    "TextModel",
    "TextScorer",
    "TextTagger",
]

_MODULES = {
    "CompletionOptions": "completion.options",
    "GPTBigCodeConfig": "config",
    "GPTBigCodeForCausalLM": "modeling.heads",
    "GPTBigCodeForSequenceClassification": "modeling.heads",
    "GPTBigCodeForTokenClassification": "modeling.heads",
    "GPTBigCodeModel": "modeling.transformer",
    "InfillOptions": "completion.options",
    "ScoreOptions": "scoring.text_scorer",
    "TagOptions": "labeling.text_tagger",
    "TextClassifier": "labeling.text_classifier",
    "TextModel": "completion.text_model",
    "TextScorer": "scoring.text_scorer",
    "TextTagger": "labeling.text_tagger",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for by name (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
