"""How sure a measured number is: 95 % intervals of shares and of ratios; knows no measure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

RESAMPLES = 10_000


def interval(successes: int, cases: int) -> list[float]:
    """The 95 % Wilson score interval of a share."""
    if not cases:
        return [0.0, 1.0]
    z, share = 1.96, successes / cases
    middle = share + z * z / (2 * cases)
    reach = z * math.sqrt(share * (1 - share) / cases + z * z / (4 * cases * cases))
    scale = 1 + z * z / cases
    return [round((middle - reach) / scale, 4), round((middle + reach) / scale, 4)]


def share_of(outcomes: Sequence[bool]) -> dict[str, Any]:
    """Cases, successes, share and interval."""
    cases, successes = len(outcomes), sum(outcomes)
    share = round(successes / max(1, cases), 4)
    return {"cases": cases, "share": share, "interval_95": interval(successes, cases)}


def ratio_interval(parts: Sequence[float], wholes: Sequence[float]) -> list[float]:
    """The 95 % percentile interval of sum(parts) / sum(wholes) over files drawn with replacement.

    Efron and Tibshirani (1993), chapter 13. The files are the cases: what is measured inside one of
    them is alike. Always the same draws.
    """
    generator = np.random.default_rng(5)
    drawn = generator.integers(0, len(parts), size=(RESAMPLES, len(parts)))
    ratios = np.asarray(parts)[drawn].sum(axis=1) / np.asarray(wholes)[drawn].sum(axis=1)
    return [round(float(value), 4) for value in np.quantile(ratios, (0.025, 0.975))]
