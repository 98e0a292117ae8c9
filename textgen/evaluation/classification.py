"""Accuracy and calibration of a classifier. Sums come first, then quotients.

Letters: D documents, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

Floats = npt.NDArray[np.floating[Any]]
Counts = npt.NDArray[np.int64]
Classes = npt.NDArray[np.integer[Any]]
Flags = npt.NDArray[np.bool_]

NUM_BINS = 15
"""Bins of the calibration error, as in Guo et al. (2017), but with equally many documents per bin."""
LARGEST_FACTOR = 100.0
"""Bound of the temperature and of its inverse: without it, documents that are all wrong would have no minimum."""


def probabilities(logits: Floats, *, temperature: float = 1.0) -> Floats:
    """Returns the softmax of logits divided by a temperature, [D, C]."""
    shares: Floats = softmax(logits.astype(np.float64) / temperature, axis=1)
    return shares


def nats_of(logits: Floats, labels: Classes, *, temperature: float = 1.0) -> float:
    """Returns the summed negative log likelihood of the documents' labels, in nats."""
    log_shares = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    return -float(log_shares[np.arange(len(labels)), labels].sum())


def fitted_temperature(logits: Floats, labels: Classes) -> float:
    """Returns the temperature that minimizes the cost of the labels; above 1 for an overconfident classifier.

    Labels are smoothed as if there were one more document of unknown label, so that a few correct documents do not make
    a classifier certain (Platt, 1999). The cost is convex in the inverse temperature, and its slope is the sum of the
    expected logits minus the logits of the labels.
    """
    doubt = 1 / (len(labels) + 1)
    known = logits[np.arange(len(labels)), labels].astype(np.float64).sum()
    own = (1 - doubt) * known + doubt * logits.astype(np.float64).mean(axis=1).sum()

    def slope(log_inverse: float) -> float:
        return float((probabilities(logits, temperature=math.exp(-log_inverse)) * logits).sum() - own)

    bound = math.log(LARGEST_FACTOR)
    if slope(-bound) >= 0:
        return LARGEST_FACTOR
    if slope(bound) <= 0:
        return 1 / LARGEST_FACTOR
    return math.exp(-brentq(slope, -bound, bound, xtol=1e-10))


def answer_threshold(confidences: Floats, *, share: float) -> float:
    """Returns the lowest confidence among the most confident `share` of documents; 0 without documents.

    A confidence of NaN counts as 0.
    """
    num_answered = math.ceil(share * len(confidences))
    if not len(confidences):
        return 0.0
    return float(np.sort(np.nan_to_num(confidences))[::-1][num_answered - 1]) if num_answered else 1.0


def confusion(labels: Classes, predicted: Classes, *, num_classes: int) -> Counts:
    """Returns the confusion matrix: documents by label (row) and predicted label (column), [C, C]."""
    cells = labels.astype(np.int64) * num_classes + predicted.astype(np.int64)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy(counts: Counts) -> float:
    """Returns the share of documents with a correct prediction; NaN without documents."""
    total = int(counts.sum())
    return int(np.trace(counts)) / total if total else math.nan


def macro_f1(counts: Counts) -> float:
    """Returns the mean over classes of 2 * correct / (predicted + actual), excluding classes that do not occur."""
    either = counts.sum(axis=0) + counts.sum(axis=1)
    occurs = either > 0
    return float((2 * np.diag(counts)[occurs] / either[occurs]).mean()) if occurs.any() else math.nan


def calibration_error(confidences: Floats, correct: Flags, *, num_bins: int = NUM_BINS) -> float:
    """Returns the expected calibration error; NaN without documents.

    Documents are sorted by confidence into bins of equal size. The error is the sum over bins of the absolute
    difference between summed confidences and the number of correct documents, divided by the number of documents.
    """
    if not len(confidences):
        return math.nan
    order = np.argsort(confidences, kind="stable")
    gaps = (confidences.astype(np.float64) - correct)[order]
    sums = np.concatenate([[0.0], np.cumsum(gaps)])
    bounds = np.arange(num_bins + 1) * len(gaps) // num_bins
    return float(np.abs(np.diff(sums[bounds])).sum() / len(gaps))


def classification_figures(
    logits: Floats, labels: Classes, *, classes: Sequence[str], temperature: float, answered: Flags
) -> dict[str, Any]:
    """Returns all figures of labelled documents, as JSON values.

    Args:
        logits: [D, C].
        labels: [D], indices into `classes`.
        classes: [C], names of the labels.
        temperature: divides the logits; fitted on other documents.
        answered: [D], the documents that the classifier does not abstain from.
    """
    shares, raw = probabilities(logits, temperature=temperature), probabilities(logits)
    predicted = shares.argmax(axis=1)
    confidences, correct = shares.max(axis=1), predicted == labels
    counts = confusion(labels, predicted, num_classes=len(classes))
    num_documents, num_answered = len(labels), int(answered.sum())
    return {
        "documents": num_documents,
        "accuracy": accuracy(counts),
        "macro_f1": macro_f1(counts),
        "loss": nats_of(logits, labels) / num_documents if num_documents else math.nan,
        "calibrated_loss": (
            nats_of(logits, labels, temperature=temperature) / num_documents if num_documents else math.nan
        ),
        "calibration_error": calibration_error(confidences, correct),
        "calibration_error_uncalibrated": calibration_error(raw.max(axis=1), correct),
        "temperature": temperature,
        "answered_share": num_answered / num_documents if num_documents else math.nan,
        "accuracy_of_answered": int((answered & correct).sum()) / num_answered if num_answered else math.nan,
        "confusion": {
            label: dict(zip(classes, row, strict=True)) for label, row in zip(classes, counts.tolist(), strict=True)
        },
    }
