"""The objective of a run: its model, its batches and its validation; the training steps are the same for all.

There are two objectives: the next character of windows, and the label of documents.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from textgen.counts.store import counts_of
from textgen.evaluation.classification import (
    accuracy,
    answer_threshold,
    confusion,
    fitted_temperature,
    nats_of,
    probabilities,
)
from textgen.evaluation.document_scoring import DocumentScorer, layout_of
from textgen.model.classifier import Classifier
from textgen.model.counted_model import language_model
from textgen.model.sliding import as_trained
from textgen.progress import silent
from textgen.runs.plan import TrainingPlan, num_parts
from textgen.spec import RunSpec
from textgen.training.collective import HostSum
from textgen.training.samples import Sampler
from textgen.training.validation import Validator
from textgen.windows.batches import Batch, WindowReader
from textgen.windows.documents import DocumentBatches, DocumentLabels, DocumentReader
from textgen.windows.lanes import worker_parts
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader

ReadBatch = Callable[[int], Batch]
NUM_STANDARDISING = 512
"""Documents that the standardiser is fitted to; they are in the order of a hash, so the first ones are a sample."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The results of a validation, the same on every worker."""

    loss: float
    """Determines which validation is the best."""
    metrics: Mapping[str, float]
    summary: str
    """The results as a part of a log line."""


class Objective(Protocol):
    """What the training loop requires of an objective."""

    model: Any
    metric_names: tuple[str, ...]
    """The metrics of a validation."""
    counted: str
    """The unit of predictions in speeds, such as `chars`."""

    def prepare(self) -> None:
        """Sets the initial weights that depend on the data, the same on every worker."""
        ...

    def reading(self, rows: tuple[int, int]) -> contextlib.AbstractContextManager[ReadBatch]:
        """Opens the batches of rows [first, last): the function in the context returns those of any step."""
        ...

    def validate(self) -> Validation | None:
        """Measures the current model, each worker a part; None if `val` is empty."""
        ...

    def samples(self) -> dict[str, str]:
        """Returns sample texts of the model, by name."""
        ...


def objective_of(spec: RunSpec, manifest: Manifest, plan: TrainingPlan, host_sum: HostSum) -> Objective:
    """Returns the objective of a run, with a newly initialised model."""
    if spec.classifier.features is None:
        return NextCharacter(spec, manifest, plan, host_sum)
    return DocumentLabel(spec, manifest, plan, host_sum)


class NextCharacter:
    """The next character of windows, which a language model predicts."""

    metric_names: tuple[str, ...] = ("val_loss", "val_bits_per_character")
    counted = "chars"

    def __init__(self, spec: RunSpec, manifest: Manifest, plan: TrainingPlan, host_sum: HostSum) -> None:
        vocabulary = manifest.vocabulary
        self.model = language_model(
            spec.model,
            vocab_size=vocabulary.size,
            controls=vocabulary.controls,
            seed=spec.training.seed,
            mixed_precision=bool(spec.training.mixed_precision),
            counts=counts_of(manifest, spec.model, say=silent),  # The driver has made them.
        )
        used = as_trained(self.model, spec)
        self._spec = spec.windows
        self._manifest = manifest
        self._lanes = plan.lanes
        self._validator = Validator(
            used,
            manifest,
            host_sum,
            max_ids=spec.training.validation_chars,
            num_parts=num_parts(spec.training, num_workers=host_sum.num_workers),
        )
        self._sampler = Sampler(used, manifest, spec.training) if host_sum.rank == 0 else None

    def prepare(self) -> None:
        """Does nothing: a language model starts with random weights, or with those of a checkpoint."""

    @contextlib.contextmanager
    def reading(self, rows: tuple[int, int]) -> Iterator[ReadBatch]:
        """Opens the windows of rows [first, last)."""
        with IdReader(self._manifest, "train") as ids:
            yield WindowReader(
                ids,
                self._lanes,
                context_length=self._spec.context_length,
                stride=self._spec.stride,
                first_row=rows[0],
                last_row=rows[1],
            ).batch

    def validate(self) -> Validation | None:
        """Scores the first characters of `val`."""
        tally = self._validator.tally()
        if tally is None:
            return None
        return Validation(
            loss=tally.loss,
            metrics={"val_loss": tally.loss, "val_bits_per_character": tally.bits_per_character},
            summary=f"val_loss {tally.loss:.3f} ({tally.bits_per_character:.3f} bits per character)",
        )

    def samples(self) -> dict[str, str]:
        """Returns completions at several temperatures; empty on all workers but the first."""
        return self._sampler.samples() if self._sampler is not None else {}


class DocumentLabel:
    """The label of documents, which a classifier predicts; a validation also calibrates its confidence."""

    metric_names: tuple[str, ...] = ("val_loss", "val_accuracy", "calibration_temperature", "answer_threshold")
    counted = "documents"

    def __init__(self, spec: RunSpec, manifest: Manifest, plan: TrainingPlan, host_sum: HostSum) -> None:
        assert plan.documents is not None, "the plan is a language model's"
        vocabulary = manifest.vocabulary
        self.model = Classifier(
            spec,
            num_words=len(vocabulary.symbols),
            vocab_size=vocabulary.size,
            num_classes=len(plan.classes),
            seed=spec.training.seed,
            mixed_precision=bool(spec.training.mixed_precision),
        )
        self._spec = spec.classifier
        self._manifest = manifest
        self._lanes = plan.lanes
        self._documents = plan.documents
        self._classes = plan.classes
        self._sum = host_sum
        self._num_parts = num_parts(spec.training, num_workers=host_sum.num_workers)
        self._val = DocumentLabels.of(manifest, "val", classes=plan.classes)
        self._scorer = DocumentScorer(self.model, vocabulary, num_classes=len(plan.classes))

    def prepare(self) -> None:
        """Fits the standardiser of pooled outputs to the first documents of `train`."""
        if self.model.standardiser is not None:
            with DocumentReader(self._manifest, "train") as reader:
                first = self._documents.places[:NUM_STANDARDISING]
                self.model.standardiser.fit(self._scorer.pooled(reader.ids(int(place)) for place in first))

    @contextlib.contextmanager
    def reading(self, rows: tuple[int, int]) -> Iterator[ReadBatch]:
        """Opens the documents of rows [first, last)."""
        layout = layout_of(self._spec, self._manifest.vocabulary)
        with DocumentReader(self._manifest, "train") as reader:
            yield DocumentBatches(
                reader, self._documents, self._lanes, layout, first_row=rows[0], last_row=rows[1]
            ).batch

    def validate(self) -> Validation | None:
        """Scores the labelled documents of `val`; each worker scores a part, and all receive all logits."""
        labels = self._val.labels
        if not len(labels):
            return None
        logits = np.zeros((len(labels), len(self._classes)))
        parts = worker_parts(len(labels), self._sum.rank, self._sum.num_workers, num_parts=self._num_parts)
        with DocumentReader(self._manifest, "val") as reader:
            for part in parts:
                places = self._val.places[part.start : part.stop]
                logits[part.start : part.stop] = self._scorer.logits(reader.ids(int(place)) for place in places)
        logits = self._sum(logits)
        temperature = fitted_temperature(logits, labels)
        confidences = probabilities(logits, temperature=temperature).max(axis=1)
        counts = confusion(labels, logits.argmax(axis=1), num_classes=len(self._classes))
        loss = nats_of(logits, labels) / len(labels)
        values = (
            loss,
            accuracy(counts),
            temperature,
            answer_threshold(confidences, share=self._spec.answered_share),
        )
        return Validation(
            loss=loss,
            metrics=dict(zip(self.metric_names, values, strict=True)),
            summary=f"val_loss {loss:.3f} (accuracy {accuracy(counts):.3f})",
        )

    def samples(self) -> dict[str, str]:
        """Returns nothing: a classifier writes no text."""
        return {}
