"""The best validation of a training, and the number of validations since."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.runs.position import Position

LOSSES = st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, math.nan, math.inf]), max_size=12)


@given(LOSSES)
def test_the_best_is_the_first_validation_with_the_lowest_finite_loss(losses: list[float]) -> None:
    position = Position()
    bests = [number for number, loss in enumerate(losses) if position.note_validation(loss)]
    numbers = [loss for loss in losses if math.isfinite(loss)]
    if not numbers:
        assert (bests, position.best_loss, position.stale_validations) == ([], None, len(losses))
        assert not position.is_at_its_best
        return
    assert position.best_loss == min(numbers)
    assert bests[-1] == losses.index(min(numbers))
    assert position.stale_validations == len(losses) - 1 - bests[-1]
    assert position.is_at_its_best == (bests[-1] == len(losses) - 1)


@pytest.mark.parametrize("kept", [math.nan, None, math.inf])
def test_a_stored_best_loss_that_is_not_finite_is_replaced_by_the_next_finite_one(kept: float | None) -> None:
    position = Position(**asdict(Position(step=3, best_loss=kept)))
    assert not position.is_at_its_best
    assert position.note_validation(4.0)
    assert position.is_at_its_best
