"""Detects that a training has diverged, and reports the step at which it failed.

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
"""Steps over which the loss is averaged, because single steps may be bad."""
LIMIT = 2.0
"""Maximum mean loss, as a multiple of the loss of guessing, which an untrained model has."""
ARRAY_NAME = "last_losses"
"""Name under which a checkpoint stores the losses of those steps."""

Array = np.ndarray[Any, Any]


class LossWatch:
    """Compares the mean loss of the last steps with that of guessing among `num_choices`."""

    def __init__(self, num_choices: int) -> None:
        self.guessing = math.log(max(num_choices, 2))
        """Loss of guessing, in nats per prediction."""
        self._last: deque[tuple[float, float]] = deque(maxlen=NUM_STEPS)

    @property
    def mean(self) -> float:
        """The mean loss, in nats per prediction."""
        return sum(nats for nats, _ in self._last) / max(sum(count for _, count in self._last), 1.0)

    def has_diverged(self, *, nats: float, predictions: float) -> bool:
        """Adds a step, and returns whether the mean loss exceeds the limit; needs `NUM_STEPS` steps."""
        self._last.append((nats, predictions))
        return len(self._last) == NUM_STEPS and self.mean > LIMIT * self.guessing

    def arrays(self) -> dict[str, Array]:
        """Returns the arrays of a checkpoint: nats and predictions of the last steps, [S, 2]."""
        return {ARRAY_NAME: np.array(self._last, np.float64).reshape(-1, 2)}

    def load_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Restores the arrays of a checkpoint; one of an older version has none, so the watch starts empty."""
        self._last.clear()
        if ARRAY_NAME in arrays:
            self._last.extend((nats, count) for nats, count in arrays[ARRAY_NAME].tolist())

    def message(self) -> str:
        """Returns the message about a loss that has diverged."""
        return (
            f"the loss has diverged ({self.mean:.1f} nats over the last {NUM_STEPS} steps, where guessing has "
            f"{self.guessing:.1f})"
        )


def failure_at(step: int, reason: str, *, run_uri: str, plan: TrainingPlan, advice: str = "") -> UserError:
    """Returns the error of a run that fails at a step; `advice` is an additional remedy."""
    found = latest_checkpoint(run_uri)
    return UserError(
        f"{reason} at {described_step(step, plan)} of {run_uri} "
        f"({'no checkpoint yet' if found is None else f'last checkpoint: {found.uri}'}); lower training.learning_rate "
        f"or set training.clip_norm, and start a new --run-name{advice}"
    )


def described_step(step: int, plan: TrainingPlan) -> str:
    """Returns a step with the windows that it reads, for messages."""
    windows = ", ".join(map(str, plan.lanes.windows(step).tolist()))
    return f"step {step} (windows {windows}; see jobs.trace --step {step})"
