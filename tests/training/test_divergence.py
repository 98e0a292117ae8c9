"""A diverging training ends at the same step, regardless of how often it was interrupted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from textgen.training.divergence import NUM_STEPS, LossWatch


def ends_at(losses: list[float], *, cut_at: int | None = None) -> int | None:
    """Returns the step at which a training with these losses ends; at `cut_at` it resumes from a checkpoint."""
    watch = LossWatch(5)
    for step, loss in enumerate(losses):
        if step == cut_at:
            arrays = watch.arrays()
            watch = LossWatch(5)
            watch.load_arrays(arrays)
        if watch.has_diverged(nats=loss * 7, predictions=7.0):
            return step
    return None


@given(st.integers(0, 150), st.integers(0, 260))
def test_a_watch_resumes_from_a_checkpoint(good_steps: int, cut_at: int) -> None:
    losses = [1.0] * good_steps + [9.0] * (260 - good_steps)
    assert ends_at(losses, cut_at=cut_at) == ends_at(losses)
    assert ends_at(losses) is not None


def test_an_old_checkpoint_starts_an_empty_watch() -> None:
    watch = LossWatch(5)
    watch.load_arrays({"optimizer/0": np.ones(3)})
    assert watch.arrays()["last_losses"].shape == (0, 2)
    results = [watch.has_diverged(nats=9.0, predictions=1.0) for _ in range(NUM_STEPS)]
    assert results == [False] * (NUM_STEPS - 1) + [True]
    assert watch.arrays()["last_losses"].shape == (NUM_STEPS, 2)
