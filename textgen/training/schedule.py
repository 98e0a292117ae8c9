"""Learning rate and length of a training, as functions of its spec."""

from __future__ import annotations

import math

from textgen.spec import TrainingSpec
from textgen.windows.lanes import Lanes


def total_steps(spec: TrainingSpec, lanes: Lanes) -> int:
    """Returns the number of steps of a whole training: `epochs` passes or `max_steps`, whichever ends first."""
    by_epochs = math.ceil(spec.epochs * lanes.steps_per_epoch)
    return by_epochs if spec.max_steps is None else min(by_epochs, spec.max_steps)


def learning_rate(step: int, spec: TrainingSpec, *, num_steps: int) -> float:
    """Returns the learning rate of a step: a linear warm-up, then a cosine (or nothing) down to the final share."""
    if step < spec.warmup_steps:
        return spec.learning_rate * (step + 1) / spec.warmup_steps
    if spec.decay == "constant":
        return spec.learning_rate
    progress = (step - spec.warmup_steps) / max(1, num_steps - 1 - spec.warmup_steps)
    low = spec.final_learning_rate_share
    return spec.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
