"""A loss that grows past what guessing has: the training has diverged, and more steps will not mend it."""

from __future__ import annotations

import math
from collections import deque

NUM_STEPS = 100
"""Over which the loss is averaged: single steps may be bad."""
LIMIT = 2.0
"""Times the loss of guessing, which a model has before it learns."""


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
