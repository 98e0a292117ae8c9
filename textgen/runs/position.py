"""The position of a training, and the checkpoints that store it."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from textgen import storage
from textgen.counts.store import CountsRecord
from textgen.evaluation.comparable import comparable
from textgen.model.checkpoint import (
    BEST_NAME,
    Arrays,
    Checkpoint,
    checkpoint_uri,
    checkpoint_uris,
    step_of,
    unfinished_uris,
)
from textgen.runs.lineage import Lineage
from textgen.spec import RunSpec
from textgen.windows.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class Run:
    """The run that is trained, and where it is stored."""

    spec: RunSpec
    manifest_uri: str
    run_uri: str
    run_name: str
    lineage: Lineage | None = None
    """The checkpoint that it started from; None if its first weights were random."""
    driver: str = field(default_factory=lambda: secrets.token_hex(8), compare=False)
    """Random id of the driver that trains the run now (`runs.lease`)."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON-ready dictionary that `from_dict` reads."""
        return asdict(self) | {"spec": self.spec.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Run:
        """Builds a run from the result of `to_dict`."""
        lineage = values["lineage"]
        return cls(
            **{
                **values,
                "spec": RunSpec.from_dict(values["spec"]),
                "lineage": Lineage(**lineage) if lineage is not None else None,
            }
        )


@dataclass(kw_only=True)
class Position:
    """The state that resuming needs besides the arrays."""

    step: int = 0
    """Completed steps."""
    epoch: float = 0.0
    interval_nats: float = 0.0
    """Sums since the last validation, whose quotient is `loss`."""
    interval_characters: float = 0.0
    best_loss: float | None = None
    stale_validations: int = 0
    """Validations since the best one."""
    skipped_steps: int = 0
    """Steps that were skipped because their loss or gradient was not finite."""
    predictions: int = 0
    """Characters (labels for a classifier) predicted, over all steps."""
    seconds: float = 0.0
    """Time of the steps over all starts of the run, without validations and checkpoints."""
    cpu_seconds: float = 0.0
    """CPU time of the first worker over the same steps, summed over its threads."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """`loss`, and the metrics of the last validation."""

    @property
    def figures(self) -> dict[str, Any]:
        """The figures that are recorded for a validation."""
        return {
            "step": self.step,
            "epoch": self.epoch,
            "predictions": self.predictions,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            **self.metrics,
        }

    @property
    def is_at_its_best(self) -> bool:
        """Whether the current step was validated, with the best loss so far."""
        return comparable(self.best_loss) < math.inf and not self.stale_validations and not self.interval_characters

    def note_step(
        self, *, nats: float, characters: float, steps_per_epoch: int, seconds: float, cpu_seconds: float
    ) -> None:
        """Adds a completed step."""
        self.step += 1
        self.predictions += int(characters)
        self.seconds += seconds
        self.cpu_seconds += cpu_seconds
        self.epoch = self.step / steps_per_epoch
        self.interval_nats += nats
        self.interval_characters += characters
        if self.interval_characters:
            self.metrics["loss"] = self.interval_nats / self.interval_characters

    def note_skipped(self, *, steps_per_epoch: int) -> None:
        """Adds a skipped step."""
        self.step += 1
        self.skipped_steps += 1
        self.epoch = self.step / steps_per_epoch

    def note_validation(self, loss: float) -> bool:
        """Adds a validation's loss, starts the next interval, and returns whether it is the best so far.

        A loss that is not finite never is.
        """
        is_best = comparable(loss) < comparable(self.best_loss)
        self.best_loss = loss if is_best else self.best_loss
        self.stale_validations = 0 if is_best else self.stale_validations + 1
        self.interval_nats = self.interval_characters = 0.0
        return is_best


def save_checkpoint(
    run: Run,
    manifest: Manifest,
    position: Position,
    *,
    classes: tuple[str, ...] = (),
    weights: Arrays,
    training_arrays: Arrays,
    is_best: bool,
) -> None:
    """Writes the checkpoint of a position, records it as the best if it is, and deletes those no longer needed."""
    values = asdict(position)
    counts = CountsRecord.of(manifest, run.spec.model)
    metrics = values.pop("metrics")
    saved = Checkpoint(
        uri=checkpoint_uri(run.run_uri, position.step),
        spec=run.spec,
        vocabulary=manifest.vocabulary,
        run_name=run.run_name,
        manifest_uri=run.manifest_uri,
        manifest_hash=manifest.hash,
        position=values,
        metrics=metrics,
        classes=classes,
        lineage=run.lineage.to_dict() if run.lineage is not None else None,
        counts=counts.to_dict() if counts is not None else None,
    ).save(weights=weights, training_arrays=training_arrays)
    place = storage.join(run.run_uri, BEST_NAME)
    if is_best:
        name_best(place, saved.uri.rsplit("/", 1)[-1], loss=position.best_loss)
    best = named_best(place)
    for uri in checkpoint_uris(run.run_uri)[: -run.spec.training.keep_checkpoints]:
        if uri.rsplit("/", 1)[-1] != best:
            storage.delete(uri)
    _delete_unfinished(run.run_uri)


def name_best(place: str, name: str, *, loss: float | None) -> None:
    """Records which checkpoint is a run's best."""
    storage.write_bytes(place, json.dumps({"checkpoint": name, "loss": loss}).encode())


def named_best(place: str) -> str | None:
    """Returns the name of a run's best checkpoint; None if none is recorded."""
    content = storage.read_if_exists(place)
    return str(json.loads(content)["checkpoint"]) if content is not None else None


def _delete_unfinished(run_uri: str) -> None:
    """Deletes unfinished checkpoints, and those that were set aside, older than the oldest complete one."""
    oldest = next(map(step_of, checkpoint_uris(run_uri)), 0)  # None if another driver's worker deletes them too.
    for uri in unfinished_uris(run_uri):
        if step_of(uri) < oldest:
            storage.delete(uri)
