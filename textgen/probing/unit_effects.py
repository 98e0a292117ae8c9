"""What single units reveal about a label, along a text, and how holding them changes generated text.

Letters: D documents, F values of a state, U cell states.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.generation.completions import Prompt, engine_of, requests_of
from textgen.generation.steering import HeldUnit
from textgen.model.checkpoint import Checkpoint
from textgen.probing.features import DocumentFeatures
from textgen.probing.labelled import LabelledDocuments
from textgen.probing.state_reader import StateReader
from textgen.probing.units import Trace, UnitThreshold, best_unit
from textgen.spec import ModelSpec

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Judge = Callable[[list[str]], Floats]
"""Returns the log odds that texts are positive."""
Held = Mapping[str, Mapping[str, Sequence[HeldUnit]]]
"""Units to hold, by name of the set and by side, `negative` or `positive`."""

UNIT_SPREADS = 3.0
"""Standard deviations from its mean at which a single unit is held: further than it goes by itself."""
NUM_JOINT_UNITS = 32
"""Number of units held together, because a small model spreads a label over many."""
JOINT_SPREADS = 1.0
"""Standard deviations from their means at which they are held; further out, a small model writes no words."""
TRACED_CHARS = (300, 900)
"""Preferred length of the documents to show, minimum and maximum."""
MEASURED_DOCUMENTS = 256
"""Number of documents from which the units' means and spreads are measured, at the ends of words."""
STEERED_CHARS = 300
"""Length of a steered completion, in characters."""


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The cell states of all layers, with the mean and spread of their values at the ends of words."""

    names: Sequence[tuple[int, int]]
    """Layer, from 1, and unit within it, from 0; [U]."""
    places: npt.NDArray[np.int64]
    """Index of each among the values of a state, [U]."""
    mean: Floats
    """[U]"""
    spread: Floats
    """Standard deviation, [U]."""

    @classmethod
    def of(cls, reader: StateReader, spec: ModelSpec, texts: Sequence[str]) -> Cells:
        """Measures the cell states at the ends of words of the first texts."""
        places, names = cell_places(spec, width=reader.width)
        states = np.concatenate([ends[:, places] for ends in reader.word_ends(texts[:MEASURED_DOCUMENTS])])
        return cls(
            names=names, places=places, mean=states.mean(axis=0, dtype=float), spread=states.std(axis=0, dtype=float)
        )

    def held(self, number: int, *, spreads: float) -> HeldUnit:
        """Returns a cell state held `spreads` standard deviations from its mean."""
        layer, unit = self.names[number]
        return HeldUnit(
            layer=layer, unit=unit, value=round(float(self.mean[number] + spreads * self.spread[number]), 2)
        )


def cell_places(spec: ModelSpec, *, width: int) -> tuple[npt.NDArray[np.int64], list[tuple[int, int]]]:
    """Returns the index of each cell state among the `width` values of a state, [U], and its layer and unit."""
    states_per_layer = width // sum(spec.widths)  # h and c; or only h, which is then the cell state.
    places, names, before = [], [], 0
    for layer, units in enumerate(spec.widths, start=1):
        before += states_per_layer * units
        places.append(np.arange(before - units, before))
        names += [(layer, unit) for unit in range(units)]
    return np.concatenate(places), names


@dataclass(frozen=True, kw_only=True)
class LabelUnit:
    """The unit that distinguishes two labels best."""

    number: int
    """Index among the cell states."""
    pooling: str
    """The value of a document that is compared with the threshold: `last` or `mean`."""
    found: UnitThreshold

    @property
    def sign(self) -> int:
        """1 if positive documents have the higher values, else -1."""
        return 1 if self.found.above else -1


def label_unit(train: DocumentFeatures, positive: Bools, cells: Cells) -> LabelUnit:
    """Returns the cell state whose last or mean value alone predicts most labels [D] of `train`."""
    by_pooling = {name: best_unit(getattr(train, name)[:, cells.places], positive) for name in ("last", "mean")}
    pooling = max(by_pooling, key=lambda name: by_pooling[name].accuracy)
    return LabelUnit(number=by_pooling[pooling].unit, pooling=pooling, found=by_pooling[pooling])


def unit_figures(unit: LabelUnit, cells: Cells, test: DocumentFeatures, positive: Bools) -> dict[str, Any]:
    """Returns the unit and the accuracy with which it alone predicts the labels [D] of `test`, as JSON values."""
    predicted = unit.found.predicted(getattr(test, unit.pooling)[:, cells.places])
    layer, place = cells.names[unit.number]
    return {
        "layer": layer,
        "unit": place,
        "pooling": unit.pooling,
        "threshold": unit.found.threshold,
        "positive_above": unit.found.above,
        "train_accuracy": unit.found.accuracy,
        "accuracy": float(np.mean(predicted == positive)),
        "mean": float(cells.mean[unit.number]),
        "spread": float(cells.spread[unit.number]),
    }


def traces(
    unit: LabelUnit, cells: Cells, test: LabelledDocuments, *, reader: StateReader, labels: tuple[str, str]
) -> list[Trace]:
    """Returns the unit's value after each character of one document per label: the first of preferred length."""
    found = []
    for positive in (True, False):
        numbers = np.flatnonzero(test.positive == positive).tolist()
        preferred = [number for number in numbers if TRACED_CHARS[0] <= len(test.texts[number]) <= TRACED_CHARS[1]]
        number = (preferred or numbers)[0]
        text = test.texts[number]
        title = f"label {labels[positive]}, document {test.document_ids[number]}"
        found.append(Trace(title=title, text=text, values=reader.trace(text)[:, cells.places[unit.number]]))
    return found


def held_units(unit: LabelUnit, cells: Cells, weights: Floats) -> dict[str, dict[str, list[HeldUnit]]]:
    """Returns what to hold for negative and positive text: the unit alone, and the units with the largest weights.

    `weights` are those of a probe of the cell states' means, [U].
    """
    heaviest = np.argsort(-np.abs(weights), kind="stable")[: min(NUM_JOINT_UNITS, int(np.count_nonzero(weights)))]
    directions = {"negative": -1, "positive": 1}
    return {
        "unit": {
            name: [cells.held(unit.number, spreads=sign * unit.sign * UNIT_SPREADS)]
            for name, sign in directions.items()
        },
        "units": {
            name: [cells.held(int(n), spreads=sign * float(np.sign(weights[n])) * JOINT_SPREADS) for n in heaviest]
            for name, sign in directions.items()
        },
    }


def steering_figures(
    checkpoint: Checkpoint,
    held: Held,
    *,
    num_completions: int,
    judge: Judge,
) -> dict[str, Any]:
    """Returns the share of completions that `judge` calls positive, with nothing held and with each set of units."""
    settings = dataclasses.replace(checkpoint.spec.sampling, n=num_completions, max_new_chars=STEERED_CHARS)

    def judged(units: Sequence[HeldUnit]) -> dict[str, Any]:
        completions = engine_of(checkpoint, held=units).generate(requests_of([Prompt(text="")], settings))
        texts = [completion.completion for completion in completions]
        logits = judge(texts)
        return {
            "held": " ".join(f"--unit {one}" for one in units),
            "positive_share": float(np.mean(logits > 0)),
            "mean_log_odds": float(np.mean(logits)),
            "completion": texts[0],
        }

    return {
        "completions": num_completions,
        "temperature": settings.temperature,
        "free": judged([]),
        **{name: {side: judged(units) for side, units in sides.items()} for name, sides in held.items()},
    }
