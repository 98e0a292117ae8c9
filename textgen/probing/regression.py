"""Linear classifiers of documents: logistic regressions whose penalty is selected on held-out labels.

There are two labels; the second one is called positive. Scikit-learn is imported inside functions because its import
takes a second.

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
"""Candidates, from the strongest penalty to the weakest."""
NUM_FOLDS = 5
"""Folds of cross-validation if there are no validation documents."""
CHOOSING_LABELS = 100
"""Number of held-out labels that is enough for selection: further folds are skipped."""
NUM_SHARES = 21
"""Number of weights tried to combine two classifiers, from 0 to 1."""
TOLERANCES = {"l1": 1e-4, "l2": 1e-6}
"""Tolerances of the solvers; for `l2`, of the mean cost's slope: at 1e-3, `word_states` was seven points worse."""
MAX_ITERATIONS = 1000
"""Limit of the solvers, which stop long before."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """A representation of documents as rows of a matrix, and the penalty to use with it."""

    name: str
    matrix: Matrix
    """[D, X]"""
    penalty: Penalty

    def rows(self, places: Numbers) -> Form:
        """Returns the form of the documents at `places`."""
        return Form(name=self.name, matrix=self.matrix[places], penalty=self.penalty)


@dataclass(frozen=True, kw_only=True)
class Regression:
    """A logistic regression on a form, with the selected penalty."""

    form: str
    penalty: Penalty
    inverse_penalty: float
    weights: Floats
    """[X]"""
    bias: float

    def logits(self, matrix: Matrix) -> Floats:
        """Returns the log odds that each document is positive, [D]."""
        return np.asarray(matrix @ self.weights + self.bias, dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Returns a summary as JSON values."""
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
    """Returns a regression with the form and penalty of the lowest held-out cost, fitted on all documents.

    Args:
        forms: The documents in one or more forms.
        positive: [D].
        val: Validation documents in the same forms, and their labels; None uses cross-validation.
        seed: Seed of the folds.

    Raises:
        UserError: no candidate has a finite cost.
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
            if nats > before:  # The cost has a single minimum.
                break
            before = nats
    if best is None:
        names = ", ".join(form.name for form in forms)
        raise UserError(
            f"the labels have no finite cost with the features {names}, which contain values that are not numbers; "
            "use another checkpoint"
        )
    return (
        _learnt(chosen, positive, best.inverse_penalty) if val is None else best
    )  # `best` was fitted on all documents.


def best_share(first: Floats, second: Floats, positive: Bools) -> float:
    """Returns the weight of the first logits [D] in a mean with the second that minimizes the cost of the labels."""
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
    """Returns ascending indices of randomly drawn documents, equally many per label, or all of a label with fewer."""
    generator = np.random.default_rng(seed)
    groups = (np.flatnonzero(positive), np.flatnonzero(~positive))
    return np.sort(np.concatenate([generator.permutation(group)[: num_labels // 2] for group in groups]))


def _folds(form: Form, positive: Bools, seed: int) -> Iterator[tuple[Form, Bools, Form, Bools]]:
    """Yields stratified folds: documents and labels to fit on, and those held out."""
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

    # A column of zeros gets no weight. With few documents most columns are zeros; leaving them out saves time.
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
    """Converts log odds to the logits of both labels, [D, 2]."""
    return np.stack([np.zeros_like(logits), logits], axis=1)
