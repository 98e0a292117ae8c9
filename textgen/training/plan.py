"""What a training will do, known before it starts: windows, steps, parameters, memory."""

from __future__ import annotations

from dataclasses import dataclass

from textgen.errors import UserError
from textgen.spec import ModelSpec, RunSpec, TrainingSpec
from textgen.training.schedule import total_steps
from textgen.windows.lanes import Lanes, num_windows
from textgen.windows.manifest import Manifest

PROCESS_BYTES = 1000 * 2**20
"""Peak resident size of a worker of the smallest models: Ray, TensorFlow, and a checkpoint being written; measured."""
FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """The figures of a training, the same for any number of workers."""

    lanes: Lanes
    num_steps: int
    num_parameters: int
    chars_per_step: int
    vocab_size: int

    @classmethod
    def of(cls, spec: RunSpec, manifest: Manifest) -> TrainingPlan:
        """Returns the plan of a spec on a manifest.

        Raises:
            UserError: the corpus is too small for a batch, or the spec does not fit the manifest.
        """
        train = manifest.split("train")
        if not train.num_ids:
            raise UserError(f"the split train of {manifest.uri} is empty; ingest more text")
        lanes = Lanes(
            num_windows=num_windows(train.num_ids, spec.windows.context_length, spec.windows.stride),
            global_batch_size=spec.training.global_batch_size,
            order=spec.training.order,
            block_windows=spec.training.block_windows,
            seed=spec.training.seed,
        )
        return cls(
            lanes=lanes,
            num_steps=total_steps(spec.training, lanes),
            num_parameters=num_parameters(spec.model, vocab_size=manifest.vocabulary.size),
            chars_per_step=spec.training.global_batch_size * spec.windows.context_length,
            vocab_size=manifest.vocabulary.size,
        )

    def worker_bytes(self, spec: RunSpec, *, num_workers: int) -> int:
        """Estimates the resident size of a worker: it depends on model and batch, not on the corpus."""
        optimizer_copies = {"adam": 2, "adamw": 2, "rmsprop": 1, "sgd": 0}[spec.training.optimizer]
        parameters = self.num_parameters * (3 + optimizer_copies)  # Weights, gradients, their flat sum.
        model = spec.model
        per_id = 12 * model.units * model.num_layers + 3 * self.vocab_size + 4 * (model.dense_units or 0)
        activations = self.chars_per_step * per_id // num_workers
        return PROCESS_BYTES + FLOAT_BYTES * (parameters + activations)

    def describe(self, spec: RunSpec, *, num_workers: int) -> str:
        """Returns the plan in words."""
        epochs = self.num_steps / self.lanes.steps_per_epoch
        workers = "1 worker" if num_workers == 1 else f"{num_workers} workers"
        return (
            f"{self.lanes.num_windows:,} windows of {spec.windows.context_length} "
            f"-> {self.num_steps:,} steps of {spec.training.global_batch_size} = {epochs:.2f} epochs; "
            f"{self.num_parameters:,} parameters; {workers}, "
            f"about {self.worker_bytes(spec, num_workers=num_workers) / 2**30:.1f} GiB of memory each"
        )


def num_parameters(spec: ModelSpec, *, vocab_size: int) -> int:
    """Returns the number of weights of a model."""
    total, width = (0, vocab_size) if spec.input == "one_hot" else (vocab_size * spec.embedding_dim, spec.embedding_dim)
    for _ in range(spec.num_layers):
        total += 4 * spec.units * (width + spec.units + 1)
        width = spec.units
    if spec.dense_units is not None:
        total += (width + 1) * spec.dense_units
        width = spec.dense_units
    return total + (width + 1) * vocab_size


CHANGEABLE = {
    "epochs", "max_steps", "patience", "validate_every_steps", "checkpoint_every_steps", "checkpoint_every_seconds",
    "keep_checkpoints", "sample_temperatures", "sample_chars", "max_failures", "record_steps",
}  # fmt: skip
"""Fields of `TrainingSpec` that a run may change when it goes on: they do not change what was learnt so far."""


def check_resumable(old: RunSpec, new: RunSpec, *, run_uri: str) -> None:
    """Makes sure that a run that goes on is the same run.

    Raises:
        UserError: a setting that shaped what was learnt so far differs.
    """
    differing = []
    for section in ("windows", "model", "training"):
        before, after = getattr(old, section), getattr(new, section)
        skipped = CHANGEABLE if isinstance(before, TrainingSpec) else set()
        differing += [
            f"{section}.{name} ({getattr(before, name)} -> {getattr(after, name)})"
            for name in before.__dataclass_fields__
            if name not in skipped and getattr(before, name) != getattr(after, name)
        ]
    if differing:
        raise UserError(
            f"the run at {run_uri} was begun with other settings: {', '.join(differing)}; "
            "give them as they were, or another --run-name"
        )
