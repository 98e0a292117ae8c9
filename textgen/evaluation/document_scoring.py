"""Logits of documents by a classifier, a fixed number of rows at a time.

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
"""Documents that are scored at once; short of so many, empty ones fill up, so that the model is compiled once."""
LENGTH_STEP = 128
"""Padded lengths are multiples of this: few enough to compile for, and little is read for nothing."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How a classifier's logits are to be taken, as fitted on `val`."""

    temperature: float = 1.0
    """Divides the logits."""
    threshold: float = 0.0
    """Confidence from which on a label is given."""

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> Calibration:
        """Returns the calibration among a checkpoint's metrics; one that changes nothing where `val` was empty."""
        temperature, threshold = metrics.get("calibration_temperature"), metrics.get("answer_threshold")
        return cls(temperature=1.0 if temperature is None else temperature, threshold=threshold or 0.0)


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """When a classifier says that it does not know."""

    unit: str
    """What it reads, in words: `words`, `characters`."""
    max_unknown_share: float
    threshold: float
    empty: Floats
    """Calibrated probabilities of a document without ids, [C]: what is believed before anything is read."""

    def reason(self, shares: Floats, *, num_ids: int, num_unknown: int) -> str | None:
        """Returns why a document with these calibrated probabilities, [C], gets no label; None where it gets one."""
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
    """Scores documents with a classifier's weights as they are at each call."""

    def __init__(self, model: Classifier, vocabulary: Vocabulary, *, num_classes: int) -> None:
        self._num_classes = num_classes
        self._layout = layout_of(model.spec, vocabulary)
        self._logits_of = tf.function(lambda inputs: model(inputs, model.initial_state(NUM_ROWS))[0][:, 0])
        self._pooled_of = tf.function(lambda inputs: model.pooled(inputs, model.initial_state(NUM_ROWS))[0])

    def logits(self, documents: Iterable[Ids]) -> Floats:
        """Returns the logits of documents, [D, C] float64; memory holds NUM_ROWS of them at once."""
        rows = list(self._rows(documents, self._logits_of))
        joined: Floats = np.concatenate([np.zeros((0, self._num_classes)), *rows])
        return joined

    def pooled(self, documents: Iterable[Ids]) -> Floats:
        """Returns what a language model makes of documents, [D, 3 H] float64."""
        joined: Floats = np.concatenate(list(self._rows(documents, self._pooled_of)))
        return joined

    def _rows(self, documents: Iterable[Ids], function: Callable[[Any], Any]) -> Iterator[Floats]:
        """Yields what a function makes of documents, NUM_ROWS at most at a time."""
        for chunk in _chunks(documents):
            longest = max((len(self._layout.kept(ids)) for ids in chunk), default=0)
            length = min(self._layout.max_ids, max(1, -(-longest // LENGTH_STEP)) * LENGTH_STEP)
            filled = chunk + [np.zeros(0, np.uint8)] * (NUM_ROWS - len(chunk))
            rows = function(self._layout.inputs(filled, length=length)).numpy()
            yield rows[: len(chunk)].astype(np.float64)


def abstention_of(checkpoint: Checkpoint, scorer: DocumentScorer) -> Abstention:
    """Returns when the classifier of a checkpoint, which `scorer` scores with, does not know."""
    calibration = Calibration.of(checkpoint.metrics)
    nothing = np.zeros(0, checkpoint.vocabulary.id_dtype)
    return Abstention(
        unit="words" if checkpoint.vocabulary.unit == "words" else "characters",
        max_unknown_share=checkpoint.spec.classifier.max_unknown_share,
        threshold=calibration.threshold,
        empty=probabilities(scorer.logits([nothing]), temperature=calibration.temperature)[0],
    )


def layout_of(spec: ClassifierSpec, vocabulary: Vocabulary) -> DocumentLayout:
    """Returns how a classifier reads documents."""
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
