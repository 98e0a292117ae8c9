"""Linear classifiers of documents: logistic regressions whose penalty unseen labels choose.

Two labels are told apart, the second of which is called positive. Scikit-learn is imported where it is needed: it takes
a second.

Letters: D documents, X columns of a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse

from textgen.errors import UserError
from textgen.evaluation.classification import accuracy, calibration_error, confusion, macro_f1, nats_of, probabilities

Matrix: TypeAlias = npt.NDArray[np.floating[Any]] | scipy.sparse.csr_array
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
Penalty = Literal["l1", "l2"]

INVERSE_PENALTIES = {"l1": (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3), "l2": (1.0, 4.0, 16.0, 64.0)}
"""What is tried, from the strongest penalty on."""
NUM_FOLDS = 5
"""Parts of the learnt documents of which each may choose, where no others may."""
CHOOSING_LABELS = 100
"""Labels that suffice to choose by: where one part has so many, the others are spared."""
NUM_SHARES = 21
"""Shares of one classifier in a combination of two that are tried, from 0 to 1."""
TOLERANCES = {"l1": 1e-4, "l2": 1e-6}
"""At which the solvers stop; for `l2`, the slope of the mean cost: at 1e-3 `word_states` was seven points worse."""
MAX_ITERATIONS = 1000
"""Of the solvers, which stop long before."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way to write documents as rows, and the penalty that goes with it."""

    name: str
    matrix: Matrix
    """[D, X]"""
    penalty: Penalty

    def rows(self, places: Numbers) -> Form:
        """Returns the form of some of the documents."""
        return Form(name=self.name, matrix=self.matrix[places], penalty=self.penalty)


@dataclass(frozen=True, kw_only=True)
class Regression:
    """A logistic regression on one form, and how it was chosen."""

    form: str
    penalty: Penalty
    inverse_penalty: float
    weights: Floats
    """[X]"""
    bias: float

    def logits(self, matrix: Matrix) -> Floats:
        """Returns the log odds of each document being positive, [D]."""
        return np.asarray(matrix @ self.weights + self.bias, dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Returns what it is like: JSON-ready."""
        return {
            "form": self.form,
            "penalty": self.penalty,
            "inverse_penalty": self.inverse_penalty,
            "weights": len(self.weights),
            "nonzero_weights": int(np.count_nonzero(self.weights)),
        }


def fitted(
    forms: Sequence[Form], positive: Bools, *, val: tuple[Sequence[Form], Bools] | None = None, seed: int = 0
) -> Regression:
    """Returns the form and penalty with which unseen labels cost least, learnt from all documents.

    Args:
        forms: The documents, in one or several ways.
        positive: [D].
        val: Other documents in the same ways, whose labels choose; None goes by folds of the first.
        seed: Of the folds.
    """
    least, chosen, best = math.inf, forms[0], None
    for number, form in enumerate(forms):
        parts = list(_folds(form, positive, seed)) if val is None else [(form, positive, val[0][number], val[1])]
        before = math.inf
        for inverse_penalty in INVERSE_PENALTIES[form.penalty]:
            tried = [_learnt(learnt, labels, inverse_penalty) for learnt, labels, _, _ in parts]
            nats = sum(
                _nats(one.logits(held.matrix), labels) for one, (_, _, held, labels) in zip(tried, parts, strict=True)
            )
            if nats < least:
                least, chosen, best = nats, form, tried[0]
            if nats > before:  # The cost has one valley.
                break
            before = nats
    if best is None:
        names = ", ".join(form.name for form in forms)
        raise UserError(
            f"the labels have no finite cost by the features {names}, which hold values that are no numbers; "
            "use another checkpoint"
        )
    return _learnt(chosen, positive, best.inverse_penalty) if val is None else best  # Which has seen all of them.


def best_share(first: Floats, second: Floats, positive: Bools) -> float:
    """Returns the share of the first logits [D], beside the second, with which the labels cost least."""
    shares = np.linspace(0, 1, NUM_SHARES)
    costs = [_nats(share * first + (1 - share) * second, positive) for share in shares]
    return float(shares[int(np.argmin(costs))])


def regression_figures(logits: Floats, positive: Bools) -> dict[str, float]:
    """Returns accuracy, macro F1, loss and calibration error of log odds, [D]."""
    both, labels = _two(logits), positive.astype(np.int64)
    shares = probabilities(both)
    predicted = (logits > 0).astype(np.int64)
    counts = confusion(labels, predicted, num_classes=2)
    return {
        "accuracy": accuracy(counts),
        "macro_f1": macro_f1(counts),
        "loss": nats_of(both, labels) / len(labels),
        "calibration_error": calibration_error(shares.max(axis=1), predicted == labels),
    }


def drawn(positive: Bools, num_labels: int, *, seed: int) -> Numbers:
    """Returns the places of documents drawn at random, as many of each label, ascending; fewer where one is rarer."""
    generator = np.random.default_rng(seed)
    groups = (np.flatnonzero(positive), np.flatnonzero(~positive))
    return np.sort(np.concatenate([generator.permutation(group)[: num_labels // 2] for group in groups]))


def _folds(form: Form, positive: Bools, seed: int) -> Iterator[tuple[Form, Bools, Form, Bools]]:
    """Yields the documents but a part, and that part; each part has its share of both labels."""
    generator = np.random.default_rng(seed)
    part = np.zeros(len(positive), dtype=np.int64)
    for label in (False, True):
        places = generator.permutation(np.flatnonzero(positive == label))
        part[places] = np.arange(len(places)) % NUM_FOLDS
    num_needed = min(NUM_FOLDS, -(-CHOOSING_LABELS * NUM_FOLDS // len(positive)))
    for number in range(num_needed):
        held, learnt = np.flatnonzero(part == number), np.flatnonzero(part != number)
        yield form.rows(learnt), positive[learnt], form.rows(held), positive[held]


def _learnt(form: Form, positive: Bools, inverse_penalty: float) -> Regression:
    from sklearn.linear_model import LogisticRegression

    # A column of zeros gets no weight, and of few documents most columns are zeros: left out, they cost no time.
    matrix, width = form.matrix, form.matrix.shape[1]
    columns = np.arange(width) if isinstance(matrix, np.ndarray) else np.unique(matrix.indices)
    is_l1 = form.penalty == "l1"
    model = LogisticRegression(
        C=inverse_penalty,
        l1_ratio=1.0 if is_l1 else 0.0,
        solver="liblinear" if is_l1 else "lbfgs",
        tol=TOLERANCES[form.penalty],
        max_iter=MAX_ITERATIONS,
        random_state=0,
    ).fit(matrix[:, columns], positive)
    weights = np.zeros(width)
    weights[columns] = model.coef_[0]
    return Regression(
        form=form.name,
        penalty=form.penalty,
        inverse_penalty=inverse_penalty,
        weights=weights,
        bias=float(model.intercept_[0]),
    )


def _nats(logits: Floats, positive: Bools) -> float:
    return nats_of(_two(logits), positive.astype(np.int64))


def _two(logits: Floats) -> Floats:
    """Returns log odds as the logits of both labels, [D, 2]."""
    return np.stack([np.zeros_like(logits), logits], axis=1)
