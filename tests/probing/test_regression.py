"""Regressions: learn learnable labels, select the penalty on held-out ones, and report figures by definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse

from textgen.errors import UserError
from textgen.probing.regression import (
    INVERSE_PENALTIES,
    NUM_FOLDS,
    Form,
    best_share,
    drawn,
    fitted,
    regression_figures,
)


def made(num_documents: int, *, width: int, noise: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows in which only column 2 reveals the label."""
    generator = np.random.default_rng(seed)
    positive = generator.random(num_documents) < 0.5
    rows = generator.normal(size=(num_documents, width))
    rows[:, 2] = np.where(positive, 1, -1) + noise * generator.normal(size=num_documents)
    return rows, positive


def test_l1_keeps_the_informative_column_and_few_others() -> None:
    rows, positive = made(200, width=30)
    val_rows, val_positive = made(80, width=30, seed=1)
    test_rows, test_positive = made(150, width=30, seed=2)
    found = fitted(
        [Form(name="a", matrix=rows, penalty="l1")],
        positive,
        val=([Form(name="a", matrix=val_rows, penalty="l1")], val_positive),
    )
    assert int(np.abs(found.weights).argmax()) == 2
    assert found.to_dict()["nonzero_weights"] < 15
    assert found.to_dict()["weights"] == 30
    assert found.inverse_penalty in INVERSE_PENALTIES["l1"]
    assert regression_figures(found.logits(test_rows), test_positive)["accuracy"] > 0.9


@pytest.mark.parametrize("with_val", [True, False])
def test_the_form_with_the_lowest_held_out_cost_is_selected(with_val: bool) -> None:
    rows, positive = made(90, width=4)
    val_rows, val_positive = made(40, width=4, seed=1)
    noise = np.random.default_rng(3).normal(size=(130, 5))

    def forms(telling: np.ndarray, other: np.ndarray) -> list[Form]:
        return [Form(name="noise", matrix=other, penalty="l2"), Form(name="telling", matrix=telling, penalty="l2")]

    val = (forms(val_rows, noise[90:]), val_positive) if with_val else None
    assert fitted(forms(rows, noise[:90]), positive, val=val).form == "telling"


def test_sparse_columns_without_a_value_change_nothing() -> None:
    rows, positive = made(50, width=6)
    padded = np.concatenate([rows, np.zeros((50, 400))], axis=1)
    dense = fitted([Form(name="a", matrix=rows, penalty="l2")], positive)
    sparse = fitted([Form(name="a", matrix=scipy.sparse.csr_array(padded), penalty="l2")], positive)
    np.testing.assert_allclose(sparse.weights[:6], dense.weights, rtol=1e-3, atol=1e-4)
    assert not sparse.weights[6:].any()
    others, _ = made(9, width=406, seed=4)
    np.testing.assert_allclose(sparse.logits(others), others @ sparse.weights + sparse.bias)


def test_few_labels_are_drawn_evenly_and_by_seed() -> None:
    positive = np.arange(70) % 5 == 0
    places = drawn(positive, 20, seed=1)
    assert positive[places].sum() == 10
    assert len(set(places.tolist())) == 20
    assert (drawn(positive, 20, seed=1) == places).all()
    assert (drawn(positive, 20, seed=2) != places).any()
    assert len(drawn(positive, 40, seed=1)) == 20 + 14  # There are only 14 positive documents.
    assert NUM_FOLDS * 2 <= 20


def test_the_better_classifier_gets_the_larger_weight() -> None:
    positive = np.array([True, False, True, False])
    knows, errs = np.where(positive, 2.0, -2.0), np.where(positive, -1.0, 1.0)
    assert best_share(knows, errs, positive) == 1.0
    assert best_share(errs, knows, positive) == 0.0
    assert 0 < best_share(np.array([3.0, -3, 0, -1]), np.array([-1.0, 0, 3, -3]), positive) < 1


def test_figures_by_hand() -> None:
    figures = regression_figures(np.array([1.0, -1.0, 2.0, 3.0]), np.array([True, True, False, True]))
    assert figures["accuracy"] == 0.5
    assert figures["macro_f1"] == pytest.approx((2 * 2 / (3 + 3) + 0) / 2)
    costs = [math.log1p(math.exp(-one)) for one in (1.0, -1.0, -2.0, 3.0)]
    assert figures["loss"] == pytest.approx(sum(costs) / 4)
    assert 0 < figures["calibration_error"] < 1


def test_nan_features_are_refused() -> None:
    rows, positive = made(20, width=3)
    form = Form(name="mean", matrix=rows, penalty="l2")
    broken = Form(name="mean", matrix=np.full((20, 3), np.nan), penalty="l2")
    with pytest.raises(UserError, match=r"no finite cost with the features mean, .* not numbers"):
        fitted([form], positive, val=([broken], positive))
