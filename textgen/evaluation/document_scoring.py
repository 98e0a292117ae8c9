"""Computes a classifier's logits of documents, a fixed number of rows at a time.

Letters: D documents, R rows, W words, T ids, C classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from textgen.evaluation.classification import Floats, probabilities
from textgen.model.checkpoint import Checkpoint
from textgen.model.classifier import Classifier
from textgen.spec import ClassifierSpec
from textgen.windows.documents import DocumentLayout
from textgen.windows.vocabulary import Ids, Vocabulary

NUM_ROWS = 64
"""Documents per call; smaller batches are padded with empty documents, so that the model is compiled once."""
LENGTH_STEP = 128
"""Padded lengths are multiples of this: few lengths to compile for, and little padding."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The calibration of a classifier, fitted on `val`."""

    temperature: float = 1.0
    """Divides the logits."""
    threshold: float = 0.0
    """Minimum confidence to give a label."""

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> Calibration:
        """Returns the calibration in a checkpoint's metrics; the neutral one if `val` was empty."""
        temperature, threshold = metrics.get("calibration_temperature"), metrics.get("answer_threshold")
        return cls(temperature=1.0 if temperature is None else temperature, threshold=threshold or 0.0)


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """The rules by which a classifier abstains."""

    unit: str
    """Name of the units that it reads: `words` or `characters`."""
    max_unknown_share: float
    threshold: float
    empty: Floats
    """Calibrated probabilities of a document without ids, [C]: the classifier's prior."""

    def reason(self, shares: Floats, *, num_ids: int, num_unknown: int) -> str | None:
        """Returns why a document with these calibrated probabilities, [C], gets no label; None if it gets one."""
        likeliest = int(shares.argmax())
        confidence, before = float(shares[likeliest]), float(self.empty[likeliest])
        if not num_ids:
            return f"the text has no {self.unit}"
        if num_unknown > self.max_unknown_share * num_ids:
            return f"{num_unknown / num_ids:.0%} of its {self.unit} are unknown"
        if confidence < self.threshold:
            return f"the confidence {confidence:.2f} is below {self.threshold:.2f}"
        if confidence <= before:
            return f"the confidence {confidence:.2f} is no more than that of an empty text, {before:.2f}"
        return None


class DocumentScorer:
    """Scores documents with the classifier's weights at the time of each call."""

    def __init__(self, model: Classifier, vocabulary: Vocabulary, *, num_classes: int) -> None:
        self._num_classes = num_classes
        self._layout = layout_of(model.spec, vocabulary)
        self._logits_of = tf.function(lambda inputs: model(inputs, model.initial_state(NUM_ROWS))[0][:, 0])
        self._pooled_of = tf.function(lambda inputs: model.pooled(inputs, model.initial_state(NUM_ROWS))[0])

    def logits(self, documents: Iterable[Ids]) -> Floats:
        """Returns the logits of documents, [D, C] float64; memory holds NUM_ROWS documents at a time."""
        rows = list(self._rows(documents, self._logits_of))
        joined: Floats = np.concatenate([np.zeros((0, self._num_classes)), *rows])
        return joined

    def pooled(self, documents: Iterable[Ids]) -> Floats:
        """Returns the pooled outputs of the classifier's language model, [D, 3 H] float64."""
        joined: Floats = np.concatenate(list(self._rows(documents, self._pooled_of)))
        return joined

    def _rows(self, documents: Iterable[Ids], function: Callable[[Any], Any]) -> Iterator[Floats]:
        """Yields the results of `function`, at most NUM_ROWS documents at a time."""
        for chunk in _chunks(documents):
            longest = max((len(self._layout.kept(ids)) for ids in chunk), default=0)
            length = min(self._layout.max_ids, max(1, -(-longest // LENGTH_STEP)) * LENGTH_STEP)
            filled = chunk + [np.zeros(0, np.uint8)] * (NUM_ROWS - len(chunk))
            rows = function(self._layout.inputs(filled, length=length)).numpy()
            yield rows[: len(chunk)].astype(np.float64)


def abstention_of(checkpoint: Checkpoint, scorer: DocumentScorer) -> Abstention:
    """Returns the rules by which the checkpoint's classifier, which `scorer` uses, abstains."""
    calibration = Calibration.of(checkpoint.metrics)
    nothing = np.zeros(0, checkpoint.vocabulary.id_dtype)
    return Abstention(
        unit="words" if checkpoint.vocabulary.unit == "words" else "characters",
        max_unknown_share=checkpoint.spec.classifier.max_unknown_share,
        threshold=calibration.threshold,
        empty=probabilities(scorer.logits([nothing]), temperature=calibration.temperature)[0],
    )


def layout_of(spec: ClassifierSpec, vocabulary: Vocabulary) -> DocumentLayout:
    """Returns the layout in which a classifier reads documents."""
    return DocumentLayout.of(
        vocabulary,
        is_bag=spec.features == "bag_of_words",
        max_ids=spec.max_document_ids,
        part=spec.document_part,
    )


def _chunks(documents: Iterable[Ids]) -> Iterator[list[Ids]]:
    waiting = iter(documents)
    while chunk := list(itertools.islice(waiting, NUM_ROWS)):
        yield chunk
