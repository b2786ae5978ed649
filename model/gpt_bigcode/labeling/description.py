"""What a classifier says of itself, without its weights; imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gpt_bigcode.checkpoint.tensor_index import CONFIG_FILE, Task, require_head
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ConfigError
from gpt_bigcode.labeling.results import Problem

DEFAULT_THRESHOLD = 0.5
"""Of checkpoints that do not say from which score on their labels are to be trusted."""
FIELD = "classification"
"""The object in config.json."""


@dataclass(frozen=True, kw_only=True)
class ClassifierDescription:
    """What labels a classifier gives, and how much it reads at once.

    Attributes:
        problem: what its numbers mean.
        names: of its labels, in the order of the head.
        context_length: the most tokens of a window.
        threshold: the score from which a single label is sure enough to be named.
    """

    problem: Problem
    names: tuple[str, ...]
    context_length: int
    threshold: float = DEFAULT_THRESHOLD


def describe(directory: Path) -> ClassifierDescription:
    """Read what a classifier is from its configuration; its weights are only looked up.

    Raises:
        CheckpointMismatchError: a checkpoint without a head for whole texts.
        ConfigError, CheckpointError: see `TextClassifier.load`.
    """
    config = GPTBigCodeConfig.from_json_file(directory / CONFIG_FILE)
    require_head(directory, Task.SEQUENCE_CLASSIFICATION)
    return ClassifierDescription(
        problem=problem_of(config),
        names=label_names(config),
        context_length=config.n_positions,
        threshold=threshold_of(config),
    )


def threshold_of(config: GPTBigCodeConfig) -> float:
    """From which score on a label is named, as measured for this checkpoint.

    Its config.json may say `"classification": {"threshold": 0.7}`.

    Raises:
        ConfigError: it says something else.
    """
    values: object = config.extra.get(FIELD, {})
    if not isinstance(values, Mapping) or set(values) - {"threshold"}:
        raise ConfigError(f'config.json: {FIELD}: expected {{"threshold": number}}')
    threshold: object = values.get("threshold", DEFAULT_THRESHOLD)
    if type(threshold) not in (int, float) or not 0 <= float(str(threshold)) <= 1:
        raise ConfigError(f"config.json: {FIELD}: threshold: expected a number from 0 to 1")
    return float(str(threshold))


def problem_of(config: GPTBigCodeConfig) -> Problem:
    """What the head was trained for: `problem_type`, else one output is a regression."""
    if config.problem_type is None:
        return Problem.REGRESSION if config.label_count == 1 else Problem.SINGLE_LABEL
    return {
        "regression": Problem.REGRESSION,
        "single_label_classification": Problem.SINGLE_LABEL,
        "multi_label_classification": Problem.MULTI_LABEL,
    }[config.problem_type]


def label_names(config: GPTBigCodeConfig) -> tuple[str, ...]:
    """The names of the head's labels, in its order.

    Raises:
        ConfigError: two are the same.
    """
    names = tuple(map(config.label, range(config.label_count)))
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise ConfigError(f"id2label: two labels are called {twice[:80]!r}")
    return names
