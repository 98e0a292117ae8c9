"""Learning rates and length of a training, as functions of its spec and the step only.

Letters: G groups of layers, from the input to the output.
"""

from __future__ import annotations

import math

from textgen.spec import TrainingSpec
from textgen.windows.lanes import Lanes

ONE_CYCLE_PEAK_AT = 0.25
"""Share of the steps after which `one_cycle` is at its peak, as in fastai."""
ONE_CYCLE_FIRST_SHARE = 1 / 25
"""Rate of its first step as a share of the peak, as in fastai."""
SLANTED_PEAK_AT = 0.1
"""Share of the steps after which `slanted_triangular` is at its peak: `cut_frac` of Howard and Ruder (2018)."""
SLANTED_LOWEST_SHARE = 1 / 32
"""Rate of its first and last step as a share of the peak: 1 / `ratio` in that paper."""


def total_steps(spec: TrainingSpec, lanes: Lanes) -> int:
    """Returns the number of steps of a whole training: `epochs` passes or `max_steps`, whichever ends first."""
    by_epochs = math.ceil(spec.epochs * lanes.steps_per_epoch)
    return by_epochs if spec.max_steps is None else min(by_epochs, spec.max_steps)


def learning_rate(step: int, spec: TrainingSpec, *, num_steps: int) -> float:
    """Returns a step's learning rate for the last group of layers: a rise to the peak, then `decay`."""
    if spec.decay == "one_cycle":
        peak_step = ONE_CYCLE_PEAK_AT * (num_steps - 1)
        if step < peak_step:
            return spec.learning_rate * _cosine(ONE_CYCLE_FIRST_SHARE, 1.0, step / peak_step)
        return spec.learning_rate * _cosine(1.0, spec.final_learning_rate_share, _progress(step, peak_step, num_steps))
    if spec.decay == "slanted_triangular":
        peak_step = SLANTED_PEAK_AT * (num_steps - 1)
        share = step / peak_step if step < peak_step else 1 - _progress(step, peak_step, num_steps)
        return spec.learning_rate * (SLANTED_LOWEST_SHARE + (1 - SLANTED_LOWEST_SHARE) * share)
    if step < spec.warmup_steps:
        return spec.learning_rate * (step + 1) / spec.warmup_steps
    if spec.decay == "constant":
        return spec.learning_rate
    progress = _progress(step, spec.warmup_steps, num_steps)
    return spec.learning_rate * _cosine(1.0, spec.final_learning_rate_share, progress)


def learns_by_groups(spec: TrainingSpec) -> bool:
    """Returns whether layers differ in their rates, or in when they start to learn."""
    return spec.layer_rate_factor != 1 or spec.unfreeze_every_steps is not None


def rate_shares(spec: TrainingSpec, *, num_groups: int) -> list[float]:
    """Returns each group's learning rate as a share of the last one's, [G]: `layer_rate_factor` lower per group."""
    return [spec.layer_rate_factor ** (group + 1 - num_groups) for group in range(num_groups)]


def num_frozen(step: int, spec: TrainingSpec, *, num_groups: int) -> int:
    """Returns the number of groups, counted from the input, that do not learn at a step."""
    if spec.unfreeze_every_steps is None:
        return 0
    return max(0, num_groups - 1 - step // spec.unfreeze_every_steps)


def _progress(step: int, peak_step: float, num_steps: int) -> float:
    """Returns the progress of a step from the peak to the last step, in [0, 1]."""
    return min(1.0, (step - peak_step) / max(1.0, num_steps - 1 - peak_step))


def _cosine(start: float, end: float, progress: float) -> float:
    """Returns the value of half a cosine from `start` (at 0) to `end` (at 1)."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
