"""Where a training stands, and the checkpoints that keep it."""

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
    """Which run is trained, and where it lives."""

    spec: RunSpec
    manifest_uri: str
    run_uri: str
    run_name: str
    lineage: Lineage | None = None
    """The checkpoint that it began from; None where its first weights were random."""
    driver: str = field(default_factory=lambda: secrets.token_hex(8), compare=False)
    """Names who trains it now; drawn anew by each (`runs.lease`)."""

    def to_dict(self) -> dict[str, Any]:
        """Returns what `from_dict` reads: JSON-ready."""
        return asdict(self) | {"spec": self.spec.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Run:
        """Builds a run from `to_dict`'s result."""
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
    """What resuming needs beside the arrays."""

    step: int = 0
    """Completed steps."""
    epoch: float = 0.0
    interval_nats: float = 0.0
    """Sums since the last validation, of which `loss` is the quotient."""
    interval_characters: float = 0.0
    best_loss: float | None = None
    stale_validations: int = 0
    """Validations since the best one."""
    skipped_steps: int = 0
    """Steps that were left out because their loss or gradient was no number."""
    predictions: int = 0
    """Characters (labels, by a classifier) predicted, over all steps."""
    seconds: float = 0.0
    """Time that the steps took, over all starts of the run; validations and checkpoints left out."""
    cpu_seconds: float = 0.0
    """CPU time of the first worker over the same steps, all its threads together."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """`loss`, and what the last validation measured."""

    @property
    def figures(self) -> dict[str, Any]:
        """What a validation is kept with."""
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
        """Whether the validation of this very step was the best so far."""
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
        """Adds a step that was left out."""
        self.step += 1
        self.skipped_steps += 1
        self.epoch = self.step / steps_per_epoch

    def note_validation(self, loss: float) -> bool:
        """Adds a validation's loss, begins the next interval, and says whether it is the best so far.

        A loss that is not a finite number never is.
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
    """Writes the checkpoint of a position, names it the best if it is, and removes those that nobody needs."""
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
    _remove_unfinished(run.run_uri)


def name_best(place: str, name: str, *, loss: float | None) -> None:
    """Writes which checkpoint is a run's best."""
    storage.write_bytes(place, json.dumps({"checkpoint": name, "loss": loss}).encode())


def named_best(place: str) -> str | None:
    """Returns which checkpoint is named a run's best; None where none is."""
    content = storage.read_if_exists(place)
    return str(json.loads(content)["checkpoint"]) if content is not None else None


def _remove_unfinished(run_uri: str) -> None:
    """Removes what was left of checkpoints that were never finished, or set aside, before the oldest whole one."""
    oldest = next(map(step_of, checkpoint_uris(run_uri)), 0)  # None where another driver's worker removes them too.
    for uri in unfinished_uris(run_uri):
        if step_of(uri) < oldest:
            storage.delete(uri)
