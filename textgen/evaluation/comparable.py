"""The order in which losses are compared."""

from __future__ import annotations

import math


def comparable(loss: float | None) -> float:
    """Returns a loss to compare with others: infinity if it is missing or NaN, so that every number is better.

    Comparisons with NaN are false, so a first loss of NaN would otherwise remain the best one.
    """
    return math.inf if loss is None or math.isnan(loss) else float(loss)
