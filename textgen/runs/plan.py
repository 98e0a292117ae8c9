"""Computes what a training will do before it starts: windows, steps, parameters, memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from textgen.errors import UserError
from textgen.runs.schedule import total_steps
from textgen.spec import ModelSpec, RunSpec, TrainingSpec, WindowsSpec
from textgen.spec.cells import CELLS
from textgen.windows.documents import DocumentLabels, classes_of
from textgen.windows.lanes import Lanes, num_windows
from textgen.windows.manifest import UNHASHED_WINDOWS_FIELDS, Manifest
from textgen.windows.vocabulary import Vocabulary

PROCESS_BYTES = 1000 * 2**20
"""Measured peak resident size of a worker with the smallest models: Ray, TensorFlow, a checkpoint being written."""
FLOAT_BYTES = 4
COUNTS_COPIES = 3
"""A worker's memory for a count model, as a multiple of its table: the table, its folds, and what reading them leaves
behind. With a table of 245 MiB a process grew by 0.8 GiB."""
COUNTED_BYTES_PER_ID = 20
"""A count model that need not be pruned is at most this large for each id of the text."""
NUM_POOLED = 3
"""Vectors that concat pooling makes from the outputs of the last recurrent layer."""
MUON_ITERATIONS = 5
"""Iterations by which Muon makes an update nearly orthogonal."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """The figures of a training, the same for any number of workers."""

    lanes: Lanes
    num_steps: int
    num_parameters: int
    flops_per_input: int
    """Floating-point operations to learn from one input."""
    chars_per_step: int
    """Inputs of a step, summed over all workers."""
    vocab_size: int
    classes: tuple[str, ...] = ()
    """Labels that a classifier distinguishes; empty for a language model."""
    documents: DocumentLabels | None = None
    """The documents that a classifier learns from, each a row of the lanes; None for a language model."""

    @classmethod
    def of(cls, spec: RunSpec, manifest: Manifest) -> TrainingPlan:
        """Returns the plan of a spec on a manifest.

        Raises:
            UserError: the corpus is too small for a batch, or the spec does not fit the manifest.
        """
        train = manifest.split("train")
        if not train.num_ids:
            raise UserError(f"the split train of {manifest.uri} is empty; ingest more text")
        check_unit(spec, manifest)
        vocabulary = manifest.vocabulary
        classes: tuple[str, ...] = ()
        documents = None
        if spec.classifier.features is None:
            num_rows = num_windows(train.num_ids, spec.windows.context_length, spec.windows.stride)
            parameters = num_parameters(
                spec.model, vocab_size=vocabulary.size, is_conditioned=bool(vocabulary.conditions)
            )
        else:
            classes = classes_of(manifest)
            documents = DocumentLabels.of(manifest, "train", classes=classes)
            num_rows = len(documents)
            parameters = num_classifier_parameters(spec, vocabulary, num_classes=len(classes))
        lanes = Lanes(
            num_windows=num_rows,
            global_batch_size=spec.training.global_batch_size,
            order=spec.training.order,
            block_windows=spec.training.block_windows,
            seed=spec.training.seed,
        )
        return cls(
            lanes=lanes,
            num_steps=total_steps(spec.training, lanes),
            num_parameters=parameters,
            flops_per_input=flops_per_input(spec, vocab_size=vocabulary.size, num_classes=len(classes)),
            chars_per_step=spec.training.global_batch_size * inputs_per_row(spec),
            vocab_size=vocabulary.size,
            classes=classes,
            documents=documents,
        )

    def worker_bytes(self, spec: RunSpec, *, num_workers: int) -> int:
        """Estimates the resident size of a worker, which depends on model and batch; of the corpus, only counts do."""
        optimizer_copies = {"adam": 2, "adamw": 2, "muon": 2, "rmsprop": 1, "sgd": 0}[spec.training.optimizer]
        parameters = self.num_parameters * (3 + optimizer_copies)  # Weights, gradients, their flat sum.
        model = spec.model
        if self.documents is None:
            per_id = 12 * sum(model.widths) + 3 * self.vocab_size + 4 * (model.dense_units or 0)
        else:  # A bag of words is one input as wide as the vocabulary.
            per_id = 3 * self.vocab_size if spec.classifier.features == "bag_of_words" else 12 * sum(model.widths)
        activations = self.chars_per_step * per_id // num_workers
        counts = 0
        if model.counts_order is not None:
            num_ids = self.lanes.num_windows * spec.windows.stride
            counts = COUNTS_COPIES * min(model.counts_max_megabytes * 2**20, COUNTED_BYTES_PER_ID * num_ids)
        return PROCESS_BYTES + FLOAT_BYTES * (parameters + activations) + counts

    def describe(self, spec: RunSpec, *, num_workers: int) -> str:
        """Returns the plan as a log line."""
        epochs = self.num_steps / self.lanes.steps_per_epoch
        workers = "1 worker" if num_workers == 1 else f"{num_workers} workers"
        rows = f"windows of {spec.windows.context_length}"
        if self.documents is not None:
            rows = f"documents of {len(self.classes)} labels"
            if self.documents.num_unlabelled:
                rows += f" ({self.documents.num_unlabelled:,} without a label left out)"
        return (
            f"{self.lanes.num_windows:,} {rows} "
            f"-> {self.num_steps:,} steps of {spec.training.global_batch_size} = {epochs:.2f} epochs; "
            f"{self.num_parameters:,} parameters; {workers}, "
            f"about {self.worker_bytes(spec, num_workers=num_workers) / 2**30:.1f} GiB of memory each"
        )


def check_unit(spec: RunSpec, manifest: Manifest) -> None:
    """Checks that a spec's model reads the kind of ids that a manifest holds.

    Raises:
        UserError: one has words and the other does not.
    """
    unit = manifest.vocabulary.unit
    if (unit == "words") != (spec.windows.unit == "words"):
        raise UserError(
            f"{manifest.uri} holds ids of {unit}, but the run reads {spec.windows.unit}; "
            "ingest with the preset, or the windows.* settings, of the run"
        )


def inputs_per_row(spec: RunSpec) -> int:
    """Returns the number of inputs in a row of the global batch: ids, or one bag of words."""
    if spec.classifier.features is None:
        return spec.windows.context_length
    return 1 if spec.classifier.features == "bag_of_words" else spec.classifier.max_document_ids


def flops_per_input(spec: RunSpec, *, vocab_size: int, num_classes: int = 0) -> int:
    """Returns the operations of the matrix products for one input: 2 per weight forward, and twice as many backward.

    The first layer looks up a row for each id, which counts nothing; neither do biases and element-wise operations.
    """
    widths = spec.model.widths
    gates = CELLS[spec.model.cell].num_gates
    inner = (0, *widths[:-1])
    recurrent = sum(gates * units * (units + below) for units, below in zip(widths, inner, strict=True))
    if spec.classifier.features is None:
        above = (widths[-1], *filter(None, [spec.model.dense_units]), vocab_size)
        share = 1.0 if spec.training.loss_at == "every" else 1 / spec.windows.context_length
        return round(6 * (recurrent + share * sum(a * b for a, b in itertools.pairwise(above))))
    if spec.classifier.features == "bag_of_words":
        return 6 * sum(a * b for a, b in itertools.pairwise((vocab_size, *spec.classifier.hidden_units, num_classes)))
    above = (NUM_POOLED * widths[-1], *spec.classifier.hidden_units, num_classes)
    return 6 * recurrent + 6 * sum(a * b for a, b in itertools.pairwise(above)) // spec.classifier.max_document_ids


def num_parameters(spec: ModelSpec, *, vocab_size: int, is_conditioned: bool = False) -> int:
    """Returns the number of weights of a language model, which may be conditioned."""
    total, width = _reading_parameters(spec, vocab_size=vocab_size)
    dense = (spec.dense_units,) if spec.dense_units is not None else ()
    if is_conditioned and spec.holds_controls:
        total += vocab_size * input_width(spec, vocab_size=vocab_size)
    if spec.counts_order is not None:
        levels = spec.counts_order - 2 + spec.counts_words  # Contexts of 3 ids and more, and of words.
        gates, features = (levels + 1, 3 + 2 * levels) if spec.counts_words else (1, 3)
        total += gates * (width + features + 1)
    return total + _dense_parameters((width, *dense, vocab_size))


def num_classifier_parameters(spec: RunSpec, vocabulary: Vocabulary, *, num_classes: int) -> int:
    """Returns the number of weights of a classifier."""
    total, width = 0, len(vocabulary.symbols)
    if spec.classifier.features == "language_model":
        total, width = _reading_parameters(spec.model, vocab_size=vocabulary.size)
        width *= NUM_POOLED
        total += 2 * width  # Shift and scale of each pooled value.
    return total + _dense_parameters((width, *spec.classifier.hidden_units, num_classes))


def flops_per_update(spec: RunSpec, *, vocab_size: int) -> int:
    """Returns the operations of the matrix products of one optimizer update: those that orthogonalize, for Muon."""
    if spec.training.optimizer != "muon" or spec.classifier.features == "bag_of_words":
        return 0
    num_gates = CELLS[spec.model.cell].num_gates
    total = 0
    below = 0 if spec.model.input == "one_hot" else input_width(spec.model, vocab_size=vocab_size)
    for units in spec.model.widths:
        for inputs in filter(None, (units, below)):
            short, long = sorted((inputs, units))
            total += num_gates * MUON_ITERATIONS * 2 * short * short * (2 * long + short)
        below = units
    return total


def input_width(spec: ModelSpec, *, vocab_size: int) -> int:
    """Returns the number of values that the first recurrent layer reads per id."""
    return {"embedding": spec.embedding_dim, "one_hot": vocab_size, "scaled": 1}[spec.input]


def _reading_parameters(spec: ModelSpec, *, vocab_size: int) -> tuple[int, int]:
    """Returns the number of weights up to the last recurrent layer, and that layer's width."""
    width = input_width(spec, vocab_size=vocab_size)
    total = vocab_size * spec.embedding_dim if spec.input == "embedding" else 0
    cell = CELLS[spec.cell]
    for units in spec.widths:
        total += cell.num_gates * units * (width + units + cell.num_biases)
        width = units
    return total, width


def _dense_parameters(widths: Sequence[int]) -> int:
    """Returns the number of weights of Dense layers between layers of these widths."""
    return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(widths))


CHANGEABLE = {
    "epochs", "max_steps", "patience", "validate_every_steps", "checkpoint_every_steps", "checkpoint_every_seconds",
    "keep_checkpoints", "sample_temperatures", "sample_chars", "max_failures", "record_steps",
    "nonfinite",
}  # fmt: skip
"""Fields of `TrainingSpec` that may change when a run resumes, because they do not affect what was learnt so far."""


def num_parts(spec: TrainingSpec, *, num_workers: int) -> int:
    """Returns the number of parts that a batch's rows are divided into: virtual workers in `fixed_order`, else workers.

    Products over different numbers of rows round differently, so in `fixed_order` the parts must not depend on the
    number of workers.
    """
    return spec.virtual_workers if spec.reduction == "fixed_order" else num_workers


def check_resumable(old: RunSpec, new: RunSpec, *, run_uri: str) -> None:
    """Checks that a run may resume with a new spec.

    Raises:
        UserError: a setting that affects what was learnt so far differs.
    """
    differing = []
    for section in ("windows", "model", "classifier", "training"):
        before, after = getattr(old, section), getattr(new, section)
        skipped = CHANGEABLE if isinstance(before, TrainingSpec) else set()
        if isinstance(before, WindowsSpec):  # The other fields come from the manifest, which is the same.
            skipped = set(before.__dataclass_fields__) - set(UNHASHED_WINDOWS_FIELDS)
        differing += [
            f"{section}.{name} ({getattr(before, name)} -> {getattr(after, name)})"
            for name in before.__dataclass_fields__
            if name not in skipped and getattr(before, name) != getattr(after, name)
        ]
    if differing:
        raise UserError(
            f"the run at {run_uri} was started with other settings: {', '.join(differing)}; "
            "restore them, or give another --run-name"
        )
