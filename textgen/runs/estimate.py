"""How long a training will take on this machine, said before it starts, and what is shorter where that is long.

The operations of a step are known (`plan.flops_per_input`); the speed of a core is measured by small matrix products,
in CPU time, so that a busy machine does not look slow. What a step costs beside its products was measured with the
presets `tiny`, `demo` and `reviews_best`. It is counted in operations too, so that it follows the core's speed.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

from textgen.errors import UserError
from textgen.runs.chosen_spec import chosen_spec
from textgen.runs.plan import TrainingPlan, inputs_per_row
from textgen.runs.precision import multiplies_bfloat16
from textgen.runs.recording import duration
from textgen.spec import RunSpec
from textgen.windows.manifest import Manifest

LONG_SECONDS = 30 * 60.0
"""A training that takes longer is told what is shorter."""
SHORTER_PRESETS = ("demo", "tiny")

PRODUCT_SHARE = 0.55
"""Share of the measured speed that a step's products reach, with what is done element by element on their results."""
POSITION_OPERATIONS = 1.6e7
"""Operations that a position of a recurrent layer costs beside its products: TensorFlow's own work, forth and back."""
STEP_OPERATIONS = 1e8
"""Operations that a step costs whatever its size."""
SERIAL_SHARE = 0.5
"""Share of the products' work that more threads do not make shorter: two took 0.8 of the time with `reviews_best`."""
BFLOAT16_FACTOR, IMITATED_FACTOR = 0.6, 1.2
"""Time of products of bfloat16 as a share of that of 32 bits, on CPUs that have instructions for them and others."""
START_SECONDS = 20.0
"""From the workers' start to the first step."""
VALIDATION_SECONDS = 2.0
"""What a validation takes beside its scoring: samples, a checkpoint."""

PRODUCT_SIZE = 64
"""Rows and columns of the measured products, which BLAS leaves to one thread."""
ROUNDS, ROUND_SECONDS = 5, 0.02


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What computes a training."""

    speed: float
    """Floating-point operations a second of one core, in small products of 32 bits."""
    num_workers: int
    num_threads: int
    """Threads of each worker."""


def measured_speed() -> float:
    """Returns the operations a second of one core of this machine, measured for a tenth of a second of CPU time."""
    first = np.full((PRODUCT_SIZE, PRODUCT_SIZE), 0.5, np.float32)
    second = np.full((PRODUCT_SIZE, PRODUCT_SIZE), 0.01, np.float32)
    speeds = []
    for _ in range(ROUNDS):
        num_products, started = 0, time.thread_time()
        while (seconds := time.thread_time() - started) < ROUND_SECONDS:
            for _ in range(50):
                first @ second
            num_products += 50
        speeds.append(2 * PRODUCT_SIZE**3 * num_products / seconds)
    return statistics.median(speeds)


def step_seconds(spec: RunSpec, plan: TrainingPlan, machine: Machine) -> float:
    """Returns about how long a step takes."""
    reads_words = spec.classifier.features == "bag_of_words"
    positions = 0 if reads_words else inputs_per_row(spec) * len(spec.model.widths)
    products = plan.flops_per_input * plan.chars_per_step / machine.num_workers / PRODUCT_SHARE
    if spec.training.mixed_precision:
        products *= BFLOAT16_FACTOR if multiplies_bfloat16() else IMITATED_FACTOR
    beside = positions * POSITION_OPERATIONS + STEP_OPERATIONS
    return (products * _share_of_time(machine.num_threads) + beside) / machine.speed


def training_seconds(spec: RunSpec, plan: TrainingPlan, machine: Machine, *, first_step: int = 0) -> float:
    """Returns about how long a training takes from a step to its end."""
    num_steps = max(0, plan.num_steps - first_step)
    num_validations = -(-num_steps // spec.training.validate_every_steps)
    forward = plan.flops_per_input / 3 * spec.training.validation_chars / machine.num_workers / PRODUCT_SHARE
    validation = VALIDATION_SECONDS + forward * _share_of_time(machine.num_threads) / machine.speed
    return START_SECONDS + num_steps * step_seconds(spec, plan, machine) + num_validations * validation


def shorter(spec: RunSpec, plan: TrainingPlan, manifest: Manifest, machine: Machine, *, first_step: int = 0) -> str:
    """Returns, for a training that takes long, how many of its steps do not, and which preset."""
    whole = training_seconds(spec, plan, machine, first_step=first_step)
    each = (whole - START_SECONDS) / max(1, plan.num_steps - first_step)
    num_steps = _two_digits(first_step + max(1.0, (LONG_SECONDS - START_SECONDS) / each))
    ways = [f"--steps {num_steps} ({duration(LONG_SECONDS)})"]
    for name in SHORTER_PRESETS:
        try:
            other = chosen_spec(manifest, preset=name, settings={}).spec
            seconds = training_seconds(other, TrainingPlan.of(other, manifest), machine)
        except UserError:  # It does not fit these windows.
            continue
        if spec.classifier.features is None and name != spec.preset and seconds < LONG_SECONDS:
            ways.append(f"--preset {name} with another --run-name ({duration(seconds)})")
    return f"this is a training of about {duration(whole)}; shorter are {' or '.join(ways)}"


def _share_of_time(num_threads: int) -> float:
    """Returns the time that products take by several threads, as a share of one thread's."""
    return SERIAL_SHARE + (1 - SERIAL_SHARE) / num_threads


def _two_digits(number: float) -> int:
    """Returns a number rounded down to the digits that an estimate bears."""
    whole = int(number)
    unit = int(10 ** max(0, len(str(whole)) - 2))
    return whole // unit * unit
