"""Estimates how long a training takes on this machine before it starts, and suggests shorter ones if that is long.

The operations of a step are known (`plan.flops_per_input`). The speed of a core is measured with small matrix products,
in CPU time, so that a busy machine does not look slow. The other costs of a step were measured with the presets `tiny`,
`demo` and `reviews_best`; they are counted in operations too, so that they scale with the core's speed.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

from textgen.errors import UserError
from textgen.model.checkpoint import checkpoint_uris, step_of
from textgen.progress import Say
from textgen.runs.chosen_spec import chosen_spec
from textgen.runs.plan import TrainingPlan, flops_per_update, inputs_per_row
from textgen.runs.precision import multiplies_bfloat16
from textgen.runs.recording import duration
from textgen.runs.start import Start
from textgen.spec import RunSpec
from textgen.windows.manifest import Manifest

LONG_SECONDS = 30 * 60.0
"""For a longer training, shorter ones are suggested."""
SHORTER_PRESETS = ("demo", "tiny")

PRODUCT_SHARE = 0.55
"""Share of the measured speed that a step's products reach, including the element-wise work on their results."""
POSITION_OPERATIONS = 1.6e7
"""Operations that a position of a recurrent layer costs besides its products: TensorFlow's overhead, both passes."""
STEP_OPERATIONS = 1e8
"""Operations that a step costs regardless of its size."""
SERIAL_SHARE = 0.5
"""Share of the products' time that more threads do not shorten: two threads took 0.8 of it with `reviews_best`."""
BFLOAT16_FACTOR, EMULATED_FACTOR = 0.6, 1.2
"""Time of bfloat16 products relative to 32-bit ones, on CPUs with and without instructions for them."""
START_SECONDS = 20.0
"""From the start of the workers to the first step."""
VALIDATION_SECONDS = 2.0
"""Time of a validation besides its scoring: samples and a checkpoint."""

PRODUCT_SIZE = 64
"""Rows and columns of the measured products, small enough that BLAS uses one thread."""
ROUNDS, ROUND_SECONDS = 5, 0.02


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The hardware of a training."""

    speed: float
    """Floating-point operations per second of one core, in small 32-bit products."""
    num_workers: int
    num_threads: int
    """Threads per worker."""


def measured_speed() -> float:
    """Measures the operations per second of one core of this machine, for a tenth of a second of CPU time."""
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
    """Returns the estimated time of a step."""
    reads_words = spec.classifier.features == "bag_of_words"
    positions = 0 if reads_words else inputs_per_row(spec) * len(spec.model.widths)
    update = flops_per_update(spec, vocab_size=plan.vocab_size)  # Every worker makes the whole of it.
    products = (plan.flops_per_input * plan.chars_per_step / machine.num_workers + update) / PRODUCT_SHARE
    if spec.training.mixed_precision:
        products *= BFLOAT16_FACTOR if multiplies_bfloat16() else EMULATED_FACTOR
    overhead = positions * POSITION_OPERATIONS + STEP_OPERATIONS
    return (products * _share_of_time(machine.num_threads) + overhead) / machine.speed


def training_seconds(spec: RunSpec, plan: TrainingPlan, machine: Machine, *, first_step: int = 0) -> float:
    """Returns the estimated time of a training from a step to its end."""
    num_steps = max(0, plan.num_steps - first_step)
    num_validations = -(-num_steps // spec.training.validate_every_steps)
    forward = plan.flops_per_input / 3 * spec.training.validation_chars / machine.num_workers / PRODUCT_SHARE
    validation = VALIDATION_SECONDS + forward * _share_of_time(machine.num_threads) / machine.speed
    return START_SECONDS + num_steps * step_seconds(spec, plan, machine) + num_validations * validation


def report_duration(start: Start, *, num_workers: int, num_threads: int, say: Say) -> None:
    """Reports how long a training is likely to take if its workers' machines are like this one, and shorter ones."""
    machine = Machine(speed=measured_speed(), num_workers=num_workers, num_threads=num_threads)
    uris = checkpoint_uris(start.run.run_uri)
    first_step = step_of(uris[-1]) if uris else 0
    spec, plan = start.run.spec, start.plan
    seconds = training_seconds(spec, plan, machine, first_step=first_step)
    begins = f" from step {first_step:,}" if first_step else ""
    say(f"about {duration(seconds)} to the end{begins}, estimated from this machine's speed; refined as steps complete")
    if seconds > LONG_SECONDS:
        say(shorter(spec, plan, start.manifest, machine, first_step=first_step))


def shorter(spec: RunSpec, plan: TrainingPlan, manifest: Manifest, machine: Machine, *, first_step: int = 0) -> str:
    """Returns the message for a long training: the number of steps, and the presets, that take less time."""
    whole = training_seconds(spec, plan, machine, first_step=first_step)
    each = (whole - START_SECONDS) / max(1, plan.num_steps - first_step)
    num_steps = _two_digits(first_step + max(1.0, (LONG_SECONDS - START_SECONDS) / each))
    ways = [f"--steps {num_steps} ({duration(LONG_SECONDS)})"]
    for name in SHORTER_PRESETS:
        try:
            other = chosen_spec(manifest, preset=name, settings={}).spec
            seconds = training_seconds(other, TrainingPlan.of(other, manifest), machine)
        except UserError:  # The preset does not fit these windows.
            continue
        if spec.classifier.features is None and name != spec.preset and seconds < LONG_SECONDS:
            ways.append(f"--preset {name} with another --run-name ({duration(seconds)})")
    return f"this training takes about {duration(whole)}; shorter alternatives: {' or '.join(ways)}"


def _share_of_time(num_threads: int) -> float:
    """Returns the time of products with several threads, relative to one thread."""
    return SERIAL_SHARE + (1 - SERIAL_SHARE) / num_threads


def _two_digits(number: float) -> int:
    """Rounds a number down to two significant digits, the precision of the estimate."""
    whole = int(number)
    unit = int(10 ** max(0, len(str(whole)) - 2))
    return whole // unit * unit
