"""By what the best of several is chosen."""

from __future__ import annotations

import math


def comparable(loss: float | None) -> float:
    """Returns a loss as the choice of the best counts it: one that is missing or NaN is worse than every number.

    Comparisons with NaN are false, so that the first of several would stay the least for ever if it were NaN.
    """
    return math.inf if loss is None or math.isnan(loss) else float(loss)
