"""Suggests a learning rate from the losses while the rate rises from far too low to far too high.

This is a training of about a hundred steps on a copy of the weights that a run would start with; no run is changed.

Letters: S steps.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.errors import UserError
from textgen.progress import Say
from textgen.runs.lineage import Source, first_weights, lineage_of, with_model
from textgen.runs.plan import TrainingPlan
from textgen.runs.precision import with_precision
from textgen.spec import RunSpec
from textgen.training.threads import has_gpu
from textgen.windows.manifest import Manifest

NUM_STEPS = 100
LOWEST, HIGHEST = 1e-5, 1.0
SMOOTHING = 0.9
"""Decay of the running average per step; the average is corrected for its start at zero."""
DIVERGED = 2.0
"""The ramp ends when the smoothed loss exceeds its minimum by this factor."""
SKIPPED_STEPS = 5
"""First steps that are ignored in the search for the steepest fall, because the average is still noisy."""
SAY_STEPS = 20

Floats = npt.NDArray[np.float64]


def find_learning_rate(
    spec: RunSpec,
    *,
    manifest_uri: str,
    source: Source | None = None,
    num_steps: int = NUM_STEPS,
    say: Say,
) -> dict[str, Any]:
    """Raises the learning rate over `num_steps` steps in this process, and returns the suggestion of the losses.

    Layers learn at different rates if the spec says so, but all of them from the first step.
    """
    from textgen.training.collective import Alone, HostSum  # Loads TensorFlow; the job checks its flags first.
    from textgen.training.objective import objective_of
    from textgen.training.step import TrainingStep

    manifest = Manifest.load(manifest_uri)
    training = dataclasses.replace(spec.training, unfreeze_every_steps=None, sample_temperatures=())
    spec = dataclasses.replace(spec, training=training)
    lineage = None
    if source is not None:
        lineage, checkpoint = lineage_of(source, manifest.vocabulary)
        spec = with_model(spec, checkpoint.spec.model, source)
    spec = with_precision(spec, on_gpu=has_gpu())
    objective = objective_of(spec, manifest, TrainingPlan.of(spec, manifest), HostSum(Alone()))
    if lineage is not None:
        weights = first_weights(lineage, objective.model, manifest.vocabulary, seed=training.seed)
        objective.model.set_weights_by_name(weights)
    objective.prepare()
    rows = (0, training.global_batch_size)
    step = TrainingStep(objective.model, training, Alone(), parts=[range(*rows)])
    losses: list[float] = []
    with objective.reading(rows) as read:
        for number, rate in enumerate(ramp(num_steps)):
            figures = step(read(number), learning_rate=float(rate))
            losses.append(figures.nats / max(figures.characters, 1.0))
            if has_diverged(losses):
                break
            if (number + 1) % SAY_STEPS == 0:
                say(f"step {number + 1}/{num_steps}  learning rate {rate:.2g}  loss {losses[-1]:.3f}")
    if not math.isfinite(losses[0]):
        raise UserError(
            f"the first loss is not finite ({losses[0]}), before any rate was tried, so the weights of --from or the "
            "windows are at fault; start from another checkpoint"
        )
    return suggestion(ramp(num_steps), losses)


def ramp(num_steps: int) -> Floats:
    """Returns the rates, [S], which rise by a constant factor."""
    return np.geomspace(LOWEST, HIGHEST, num_steps)


def smoothed(losses: Sequence[float]) -> Floats:
    """Returns the running average of losses, [S]."""
    averages, average = [], 0.0
    for number, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        averages.append(average / (1 - SMOOTHING**number))
    return np.array(averages)


def has_diverged(losses: Sequence[float]) -> bool:
    """Returns whether a ramp has reached rates that are too high."""
    averages = smoothed(losses)
    return not math.isfinite(losses[-1]) or bool(averages[-1] > DIVERGED * np.nanmin(averages))


def suggestion(rates: Floats, losses: Sequence[float]) -> dict[str, Any]:
    """Returns the suggested rate and the figures that it is based on, JSON-ready.

    `learning_rate` is a tenth of the rate at the lowest smoothed loss, the usual rule: there the loss still falls fast,
    and a whole training remains stable. `steepest` is where the smoothed loss falls most per step; it is noisier.
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    averages = smoothed(finite)
    lowest = int(np.argmin(averages))
    falls = -np.diff(averages)[SKIPPED_STEPS : max(lowest, SKIPPED_STEPS + 1)]
    steepest = SKIPPED_STEPS + int(np.argmax(falls)) if len(falls) else lowest
    return {
        "learning_rate": _rounded(rates[lowest] / 10),
        "steepest": _rounded(rates[steepest]),
        "lowest_loss_at": _rounded(rates[lowest]),
        "diverged_at": _rounded(rates[len(losses) - 1]) if has_diverged(losses) else None,
        "steps": [
            {"learning_rate": float(rate), "loss": loss, "smoothed_loss": float(average)}
            for rate, loss, average in zip(rates, finite, averages, strict=False)
        ],
    }


def plot(found: dict[str, Any]) -> bytes:
    """Returns a PNG of the losses over the rates, with the suggestions."""
    from matplotlib.figure import Figure  # Deferred: the import takes a second.

    rates = [step["learning_rate"] for step in found["steps"]]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(rates, [step["loss"] for step in found["steps"]], color="lightgray", label="loss of the step")
    axes.plot(rates, [step["smoothed_loss"] for step in found["steps"]], label="smoothed")
    for name, style in (("learning_rate", "-"), ("steepest", ":")):
        axes.axvline(found[name], linestyle=style, color="black", label=f"{name} {found[name]:g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="nats per prediction")
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    return picture.getvalue()


def _rounded(rate: float) -> float:
    """Rounds a rate to two digits, the precision of the measurement."""
    return float(f"{rate:.2g}")
