"""Finds the single unit that distinguishes two labels best, and draws its trace along a text.

Letters: D documents, U units, T characters of a text, L lines, W characters of a line.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

LINE_CHARS = 90
"""W: characters per line of the picture."""
MAX_LINES = 16
"""Maximum number of lines per text in the picture."""
SPREADS_SHOWN = 2.5
"""Standard deviations from the mean at which the colour scale ends."""
DARK_SPREADS = 1.5
"""Standard deviations from the mean beyond which characters are white, on a dark colour."""


@dataclass(frozen=True, kw_only=True)
class UnitThreshold:
    """Predicts the label of a document from the value of one unit."""

    unit: int
    """Column among the values."""
    threshold: float
    above: bool
    """Whether positive documents are above the threshold; otherwise they are at or below it."""
    accuracy: float
    """Share of correct predictions on the documents that the threshold was fitted on."""

    def predicted(self, values: Floats) -> Bools:
        """Returns whether each document, [D, U], is predicted positive, [D]."""
        above: Bools = values[:, self.unit] > self.threshold
        return above if self.above else ~above


def best_unit(values: Floats, positive: Bools) -> UnitThreshold:
    """Returns the unit, threshold and direction with the highest accuracy; the first unit in a tie.

    Args:
        values: [D, U].
        positive: [D].
    """
    return max((_best_threshold(values, positive, unit) for unit in range(values.shape[1])), key=lambda u: u.accuracy)


def _best_threshold(values: Floats, positive: Bools, unit: int) -> UnitThreshold:
    order = np.argsort(values[:, unit], kind="stable")
    ordered, is_positive = values[order, unit].astype(np.float64), positive[order]
    # Number of correct predictions if the first 0, 1, ... D documents in order are predicted negative.
    num_negative_before = np.concatenate([[0], np.cumsum(~is_positive)])
    num_positive_after = np.concatenate([np.cumsum(is_positive[::-1])[::-1], [0]])
    num_right = num_negative_before + num_positive_after
    bounds = np.concatenate([[-math.inf], (ordered[:-1] + ordered[1:]) / 2, [math.inf]])
    # No threshold fits between equal values.
    possible = np.concatenate([[True], ordered[:-1] < ordered[1:], [True]])
    best = {
        above: int(np.where(possible, counted, -1).argmax())
        for above, counted in ((True, num_right), (False, len(order) - num_right))
    }
    above = num_right[best[True]] >= len(order) - num_right[best[False]]
    cut = best[bool(above)]
    right = num_right[cut] if above else len(order) - num_right[cut]
    return UnitThreshold(unit=unit, threshold=float(bounds[cut]), above=bool(above), accuracy=float(right / len(order)))


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The value of a unit after each character of a text."""

    title: str
    text: str
    values: Floats
    """[T]"""

    def to_dict(self) -> dict[str, Any]:
        """Returns the trace as JSON values."""
        return {"title": self.title, "text": self.text, "values": [round(value, 4) for value in self.values.tolist()]}


def picture(traces: Sequence[Trace], *, title: str, reverse: bool = False) -> bytes:
    """Returns a PNG of the texts in which the colour behind each character shows the unit's value.

    Args:
        traces: The texts, shown one below the other; long ones are cut.
        title: Description of the values. The mean value is white.
        reverse: Shows low values in blue and high ones in red, instead of the reverse.
    """
    from matplotlib.figure import Figure  # Needs no display and keeps no figure open.

    values = np.concatenate([trace.values for trace in traces])
    centre, spread = float(values.mean()), float(values.std()) or 1.0
    grids = [_grid(trace.values) for trace in traces]
    num_lines = [len(grid) for grid in grids]
    figure = Figure(figsize=(13, 1.4 + 0.3 * sum(num_lines) + 0.5 * len(traces)), layout="constrained")
    panels = figure.subplots(len(traces), 1, squeeze=False, height_ratios=num_lines)[:, 0]
    for panel, trace, grid in zip(panels, traces, grids, strict=True):
        reach = SPREADS_SHOWN * spread
        image = panel.imshow(
            grid, cmap="RdBu_r" if reverse else "RdBu", vmin=centre - reach, vmax=centre + reach, aspect="auto"
        )
        for place, character in enumerate(trace.text[: LINE_CHARS * MAX_LINES]):
            line, column = divmod(place, LINE_CHARS)
            colour = "white" if abs(trace.values[place] - centre) > DARK_SPREADS * spread else "black"
            panel.text(column, line, character, ha="center", va="center", family="monospace", fontsize=10, color=colour)
        panel.set_title(trace.title, loc="left", fontsize=11)
        panel.set_axis_off()
    figure.suptitle(title, fontsize=13)
    figure.colorbar(image, ax=list(panels), orientation="horizontal", fraction=0.04, pad=0.02, aspect=60)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110)
    return png.getvalue()


def _grid(values: Floats) -> Floats:
    """Returns values in lines, [L, W], padded with NaN."""
    shown = values[: LINE_CHARS * MAX_LINES]
    num_lines = max(1, -(-len(shown) // LINE_CHARS))
    grid = np.full(num_lines * LINE_CHARS, np.nan, dtype=np.float32)
    grid[: len(shown)] = shown
    return grid.reshape(num_lines, LINE_CHARS)
