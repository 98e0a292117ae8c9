"""What a single unit says of a label, along a text, and to the text that is generated while it is held at a value."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.evaluation.labelled import LabelledDocuments
from textgen.evaluation.state_reader import StateReader
from textgen.evaluation.units import Trace, UnitThreshold, best_unit
from textgen.generation.completions import Prompt, engine_of, requests_of
from textgen.generation.steering import HeldUnit
from textgen.model.checkpoint import Checkpoint
from textgen.spec import ModelSpec

Judge = Callable[[list[str]], npt.NDArray[np.float64]]
"""Log odds of texts being positive."""

SPREADS_HELD = 3.0
"""A unit is held so many standard deviations from its mean: further than it goes by itself, mostly."""
TRACED_CHARS = (300, 900)
"""Length of the documents that are shown."""
MEASURED_DOCUMENTS = 256
"""Documents whose ends of words give a unit's mean and spread."""
STEERED_CHARS = 300
"""Length of a steered completion, in characters."""


@dataclass(frozen=True, kw_only=True)
class SentimentUnit:
    """The unit that tells two labels apart best."""

    layer: int
    """From 1."""
    unit: int
    """From 0, in its layer."""
    place: int
    """Among the values of the whole state."""
    pooling: str
    """Which of a document's values was compared with the threshold: the `last`, or the `mean`."""
    found: UnitThreshold
    mean: float
    """Of the values at the ends of words of `train`."""
    spread: float
    """Standard deviation of those."""

    def held(self, direction: int) -> HeldUnit:
        """Returns the unit held where documents are positive (+1) or negative (-1)."""
        sign = direction if self.found.above else -direction
        return HeldUnit(layer=self.layer, unit=self.unit, value=round(self.mean + sign * SPREADS_HELD * self.spread, 2))


def cell_places(spec: ModelSpec, *, width: int) -> list[tuple[int, int, int]]:
    """Returns layer, unit and place of every cell state among the `width` values of a state."""
    states_per_layer = width // sum(spec.widths)  # h and c, or h alone, which is the cell state then.
    places, before = [], 0
    for layer, units in enumerate(spec.widths, start=1):
        first = before + (states_per_layer - 1) * units
        places += [(layer, unit, first + unit) for unit in range(units)]
        before += states_per_layer * units
    return places


def sentiment_unit(train: LabelledDocuments, spec: ModelSpec, *, reader: StateReader) -> SentimentUnit:
    """Returns the cell state whose last or mean value alone is right about most labels of `train`."""
    features = train.features
    cells = cell_places(spec, width=features.last.shape[1])
    columns = [place for _, _, place in cells]
    by_pooling = {name: best_unit(getattr(features, name)[:, columns], train.positive) for name in ("last", "mean")}
    pooling = max(by_pooling, key=lambda name: by_pooling[name].accuracy)
    layer, unit, place = cells[by_pooling[pooling].unit]
    ends = reader.word_ends(train.texts[:MEASURED_DOCUMENTS])
    values = np.concatenate([states[:, place] for states in ends]).astype(np.float64)
    return SentimentUnit(
        layer=layer,
        unit=unit,
        place=place,
        pooling=pooling,
        found=dataclasses.replace(by_pooling[pooling], unit=place),
        mean=float(values.mean()),
        spread=float(values.std()),
    )


def unit_figures(sentiment: SentimentUnit, test: LabelledDocuments) -> dict[str, Any]:
    """Returns what the unit is, how right it is alone, and how to hold it: JSON-ready."""
    predicted = sentiment.found.predicted(getattr(test.features, sentiment.pooling))
    return {
        "layer": sentiment.layer,
        "unit": sentiment.unit,
        "pooling": sentiment.pooling,
        "threshold": sentiment.found.threshold,
        "positive_above": sentiment.found.above,
        "train_accuracy": sentiment.found.accuracy,
        "accuracy": float(np.mean(predicted == test.positive)),
        "mean": sentiment.mean,
        "spread": sentiment.spread,
        "hold_negative": written(sentiment.held(-1)),
        "hold_positive": written(sentiment.held(+1)),
    }


def traces(
    sentiment: SentimentUnit, test: LabelledDocuments, *, reader: StateReader, labels: tuple[str, str]
) -> list[Trace]:
    """Returns the unit's value after each character of the first document of each label that has a handy length."""
    found = []
    for positive in (True, False):
        numbers = [n for n in range(len(test)) if bool(test.positive[n]) == positive]
        handy = [n for n in numbers if TRACED_CHARS[0] <= len(test.texts[n]) <= TRACED_CHARS[1]]
        number = (handy or numbers)[0]
        text = test.texts[number]
        title = f"label {labels[positive]}, document {test.features.document_ids[number]}"
        found.append(Trace(title=title, text=text, values=reader.trace(text)[:, sentiment.place]))
    return found


def steering_figures(
    sentiment: SentimentUnit, checkpoint: Checkpoint, *, num_completions: int, judge: Judge
) -> dict[str, Any]:
    """Returns how many completions a judge calls positive with the unit held low, left alone, and held high."""
    settings = dataclasses.replace(checkpoint.spec.sampling, n=num_completions, max_new_chars=STEERED_CHARS)
    figures: dict[str, Any] = {"completions": num_completions, "temperature": settings.temperature}
    for name, held in (("negative", [sentiment.held(-1)]), ("free", []), ("positive", [sentiment.held(+1)])):
        completions = engine_of(checkpoint, held=held).generate(requests_of([Prompt(text="")], settings))
        texts = [completion.completion for completion in completions]
        logits = judge(texts)
        figures[name] = {
            "held": [written(one) for one in held],
            "positive_share": float(np.mean(logits > 0)),
            "mean_log_odds": float(np.mean(logits)),
            "completion": texts[0],
        }
    return figures


def written(held: HeldUnit) -> str:
    """Returns a held unit as `--unit` takes it."""
    layer = "" if held.layer == 1 else f"{held.layer}:"
    return f"{layer}{held.unit}={held.value:+g}"
