"""The best of several losses is never NaN."""

from __future__ import annotations

import itertools
import math

import pytest

from textgen.evaluation.comparable import comparable


@pytest.mark.parametrize("losses", list(itertools.permutations([math.nan, 2.0, 1.0, None])))
def test_the_least_is_a_number_in_any_order(losses: tuple[float | None, ...]) -> None:
    assert min(losses, key=comparable) == 1.0
    assert sorted(losses, key=comparable)[:2] == [1.0, 2.0]
