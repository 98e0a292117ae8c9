"""The single unit: found where one was hidden, with the accuracy counted by hand, and drawn as a picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.probing import units
from textgen.probing.units import Trace, UnitThreshold, best_unit, picture


def right(found: UnitThreshold, values: np.ndarray, positive: np.ndarray) -> float:
    return float((found.predicted(values) == positive).mean())


@pytest.mark.parametrize("sign", [1, -1])
def test_the_informative_unit_is_found_with_its_direction(sign: int) -> None:
    generator = np.random.default_rng(0)
    positive = generator.random(60) < 0.4
    values = generator.normal(size=(60, 7)).astype(np.float32)
    values[:, 4] = sign * (np.where(positive, 2.0, 1.0) + 0.3 * generator.random(60))
    found = best_unit(values, positive)
    assert (found.unit, found.above, found.accuracy) == (4, sign == 1, 1.0)
    assert 1.3 <= sign * found.threshold <= 2.0
    assert right(found, values, positive) == 1.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=25))
def test_no_threshold_is_more_accurate(documents: list[tuple[int, bool]]) -> None:
    values = np.array([[value] for value, _ in documents], dtype=np.float32)
    positive = np.array([label for _, label in documents])
    found = best_unit(values, positive)
    assert right(found, values, positive) == pytest.approx(found.accuracy)
    for threshold in np.arange(-4, 4) + 0.5:
        above = values[:, 0] > threshold
        assert max((above == positive).mean(), (above != positive).mean()) <= found.accuracy + 1e-12


def test_a_picture_is_a_png_that_shows_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "LINE_CHARS", 20)
    monkeypatch.setattr(units, "MAX_LINES", 3)
    text = "The film was good.\nVery." * 3
    flat = Trace(title="label 1", text=text, values=np.zeros(len(text), np.float32))
    short = Trace(title="label 0", text="so bad", values=np.array([0, 0, 0, -1, -2, -3], np.float32))
    drawn = picture([flat, short], title="unit 4")
    assert drawn.startswith(b"\x89PNG")
    assert drawn == picture([flat, short], title="unit 4")
    assert drawn != picture([flat, short], title="unit 4", reverse=True)
    other = Trace(title="label 0", text="so bad", values=-short.values)
    assert drawn != picture([flat, other], title="unit 4")
    assert other.to_dict() == {"title": "label 0", "text": "so bad", "values": [0, 0, 0, 1, 2, 3]}
