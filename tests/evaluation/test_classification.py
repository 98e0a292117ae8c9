"""Figures of a classifier, compared with values computed by hand and with slower definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.evaluation.classification import (
    accuracy,
    answer_threshold,
    calibration_error,
    classification_figures,
    confusion,
    fitted_temperature,
    macro_f1,
    nats_of,
    probabilities,
)

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
PREDICTED = np.array([0, 0, 1, 1, 2, 2, 2, 2, 0])


def test_confusion_accuracy_and_macro_f1_by_hand() -> None:
    counts = confusion(LABELS, PREDICTED, num_classes=4)
    assert counts.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [1, 0, 3, 0], [0, 0, 0, 0]]
    assert accuracy(counts) == 6 / 9
    # Class 3 does not occur. Of the others: precision 2/3 and recall 2/3; 1/2 and 1/2; 3/4 and 3/4.
    assert macro_f1(counts) == pytest.approx((2 / 3 + 1 / 2 + 3 / 4) / 3)
    assert math.isnan(accuracy(np.zeros((2, 2), np.int64)))


def test_probabilities_and_nats_by_hand() -> None:
    logits = np.log(np.array([[1.0, 3.0], [8.0, 2.0]]))
    np.testing.assert_allclose(probabilities(logits), [[0.25, 0.75], [0.8, 0.2]])
    assert nats_of(logits, np.array([1, 0])) == pytest.approx(-math.log(0.75 * 0.8))
    np.testing.assert_allclose(probabilities(2 * logits, temperature=2.0), [[0.25, 0.75], [0.8, 0.2]])
    assert np.isfinite(probabilities(np.array([[1e5, -1e5]]))).all()


def drawn(seed: int, *, num_documents: int = 400, num_classes: int = 3) -> tuple[Any, Any]:
    """Returns logits, and labels drawn from their probabilities: a perfectly calibrated classifier."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((num_documents, num_classes))
    labels = np.array([rng.choice(num_classes, p=row) for row in probabilities(logits)])
    return logits, labels


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 50), st.sampled_from([0.25, 1.0, 4.0]))
def test_the_fitted_temperature_costs_least_and_undoes_a_factor(seed: int, factor: float) -> None:
    logits, labels = drawn(seed)
    temperature = fitted_temperature(logits * factor, labels)

    def cost(temperature: float) -> float:
        """Returns the cost of the smoothed labels."""
        doubt = 1 / (len(labels) + 1)
        of_class = [nats_of(logits * factor, labels * 0 + c, temperature=temperature) for c in range(3)]
        return (1 - doubt) * nats_of(logits * factor, labels, temperature=temperature) + doubt * sum(of_class) / 3

    assert cost(temperature) < min(cost(temperature * 0.99), cost(temperature * 1.01))
    assert temperature / factor == pytest.approx(fitted_temperature(logits, labels), rel=1e-6)
    assert 0.7 < temperature / factor < 1.4  # The labels were drawn at 1.


def test_a_few_correct_documents_give_no_certainty() -> None:
    logits = np.array([[1.0, 0.0], [0.0, 1.0]])
    # Two known documents and one unknown: five sixths are correct.
    assert fitted_temperature(logits, np.array([0, 1])) == pytest.approx(1 / math.log(5))
    assert fitted_temperature(logits, np.array([1, 0])) == pytest.approx(100)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1))
def test_the_most_confident_share_is_at_or_above_the_threshold(confidences: list[float], share: float) -> None:
    array = np.array(confidences)
    threshold = answer_threshold(array, share=share)
    if share > 0:
        assert (array >= threshold).mean() >= share
        assert (array > threshold).sum() < math.ceil(share * len(array))


@given(st.integers(0, 10), st.integers(1, 40), st.integers(1, 7))
def test_the_calibration_error_equals_its_definition(seed: int, num_documents: int, num_bins: int) -> None:
    rng = np.random.default_rng(seed)
    confidences, correct = rng.random(num_documents), rng.random(num_documents) < 0.5
    order = np.argsort(confidences)
    expected = 0.0
    for bin_of in range(num_bins):
        inside = order[bin_of * num_documents // num_bins : (bin_of + 1) * num_documents // num_bins]
        if len(inside):
            gap = abs(confidences[inside].mean() - correct[inside].mean())
            expected += len(inside) / num_documents * gap
    assert calibration_error(confidences, correct, num_bins=num_bins) == pytest.approx(expected)


def test_a_calibrated_classifier_has_a_small_calibration_error() -> None:
    logits, labels = drawn(3, num_documents=20_000)
    for factor, low, high in ((1.0, 0.0, 0.02), (3.0, 0.1, 1.0)):
        shares = probabilities(logits * factor)
        assert low <= calibration_error(shares.max(axis=1), shares.argmax(axis=1) == labels) <= high


def test_the_figures_of_documents_by_hand() -> None:
    logits = np.log(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.55, 0.45]]))
    labels = np.array([0, 1, 1, 0])
    figures = classification_figures(
        logits, labels, classes=("neg", "pos"), temperature=1.0, answered=np.array([True, True, True, False])
    )
    assert figures["documents"] == 4
    assert figures["accuracy"] == 0.75
    assert figures["answered_share"] == 0.75
    assert figures["accuracy_of_answered"] == pytest.approx(2 / 3)
    assert figures["loss"] == pytest.approx(-math.log(0.9 * 0.8 * 0.4 * 0.55) / 4)
    assert figures["calibrated_loss"] == pytest.approx(figures["loss"])
    assert figures["confusion"] == {"neg": {"neg": 2, "pos": 0}, "pos": {"neg": 1, "pos": 1}}
    assert figures["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_a_nan_confidence_counts_as_zero() -> None:
    assert answer_threshold(np.array([np.nan, 0.9, 0.6, 0.7]), share=0.75) == 0.6
