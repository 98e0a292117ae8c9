"""A training that has nothing more to learn: its numbers are lost, or its loss grew past what guessing has.

Letters: S steps.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from textgen.errors import UserError
from textgen.model.checkpoint import latest_checkpoint
from textgen.runs.plan import TrainingPlan

NUM_STEPS = 100
"""Over which the loss is averaged: single steps may be bad."""
LIMIT = 2.0
"""Times the loss of guessing, which a model has before it learns."""
ARRAY_NAME = "last_losses"
"""Under which a checkpoint keeps the losses of those steps."""

Array = np.ndarray[Any, Any]


class LossWatch:
    """The mean loss of the last steps, held against that of guessing among `num_choices`."""

    def __init__(self, num_choices: int) -> None:
        self.guessing = math.log(max(num_choices, 2))
        """Nats a prediction."""
        self._last: deque[tuple[float, float]] = deque(maxlen=NUM_STEPS)

    @property
    def mean(self) -> float:
        """The mean loss, in nats a prediction."""
        return sum(nats for nats, _ in self._last) / max(sum(count for _, count in self._last), 1.0)

    def has_diverged(self, *, nats: float, predictions: float) -> bool:
        """Adds a step, and says whether the loss is past the limit; never before there were enough steps."""
        self._last.append((nats, predictions))
        return len(self._last) == NUM_STEPS and self.mean > LIMIT * self.guessing

    def arrays(self) -> dict[str, Array]:
        """Returns what a checkpoint keeps: the nats and predictions of the last steps, [S, 2]."""
        return {ARRAY_NAME: np.array(self._last, np.float64).reshape(-1, 2)}

    def load_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Takes up what a checkpoint keeps; one of an older version has none, and the watch begins anew."""
        self._last.clear()
        if ARRAY_NAME in arrays:
            self._last.extend((nats, count) for nats, count in arrays[ARRAY_NAME].tolist())

    def words(self) -> str:
        """Returns what has happened where it has diverged."""
        return (
            f"the loss has diverged: {self.mean:.1f} nats over the last {NUM_STEPS} steps, where guessing has "
            f"{self.guessing:.1f},"
        )


def refusal(what: str, step: int, *, run_uri: str, plan: TrainingPlan, advice: str = "") -> UserError:
    """Returns the words for a run that ends at a step; `advice` is one more way out."""
    found = latest_checkpoint(run_uri)
    return UserError(
        f"{what} at {place_of(step, plan)} of {run_uri}, whose last checkpoint is "
        f"{'none' if found is None else found.uri}; lower training.learning_rate or set training.clip_norm "
        f"and begin a new --run-name{advice}"
    )


def place_of(step: int, plan: TrainingPlan) -> str:
    """Returns where a step read, in words."""
    windows = ", ".join(map(str, plan.lanes.windows(step).tolist()))
    return f"step {step} (windows {windows}; see jobs.trace --step {step})"
