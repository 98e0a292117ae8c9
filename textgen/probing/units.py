"""The single unit that tells two labels apart best, and its trace along a text.

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
"""W: characters of a line of the picture."""
MAX_LINES = 16
"""Lines of a text that the picture shows."""
SPREADS_SHOWN = 2.5
"""The picture's colours end so many standard deviations from the mean."""
DARK_SPREADS = 1.5
"""From there on a colour is so dark that characters on it are white."""


@dataclass(frozen=True, kw_only=True)
class UnitThreshold:
    """Takes a document for positive by the value of one unit alone."""

    unit: int
    """Column of the values that it was found among."""
    threshold: float
    above: bool
    """Whether positive documents lie above the threshold, or else at it and below."""
    accuracy: float
    """Share of the documents that it was found on which it takes for what they are."""

    def predicted(self, values: Floats) -> Bools:
        """Returns which documents [D, U] it takes for positive, [D]."""
        above: Bools = values[:, self.unit] > self.threshold
        return above if self.above else ~above


def best_unit(values: Floats, positive: Bools) -> UnitThreshold:
    """Returns the unit, threshold and direction that are right about most documents; of equals the first.

    Args:
        values: [D, U].
        positive: [D].
    """
    return max((_best_threshold(values, positive, unit) for unit in range(values.shape[1])), key=lambda u: u.accuracy)


def _best_threshold(values: Floats, positive: Bools, unit: int) -> UnitThreshold:
    order = np.argsort(values[:, unit], kind="stable")
    ordered, is_positive = values[order, unit].astype(np.float64), positive[order]
    # Right about so many where the first 0, 1, ... D documents in the order are taken for negative.
    num_negative_before = np.concatenate([[0], np.cumsum(~is_positive)])
    num_positive_after = np.concatenate([np.cumsum(is_positive[::-1])[::-1], [0]])
    num_right = num_negative_before + num_positive_after
    bounds = np.concatenate([[-math.inf], (ordered[:-1] + ordered[1:]) / 2, [math.inf]])
    # Between equal values there is no place for a threshold.
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
        """Returns the trace as a JSON-ready dictionary."""
        return {"title": self.title, "text": self.text, "values": [round(value, 4) for value in self.values.tolist()]}


def picture(traces: Sequence[Trace], *, title: str, reverse: bool = False) -> bytes:
    """Returns a PNG: the texts, a line below the other, each character on the colour of the unit's value.

    Args:
        traces: Texts that are shown below each other; long ones are cut.
        title: What the values are. Their mean has no colour.
        reverse: Whether low values are blue and high ones red, instead of the other way round.
    """
    from matplotlib.figure import Figure  # Draws without a screen, and keeps no figure open.

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
    """Returns values as lines, [L, W]; NaN after the last one."""
    shown = values[: LINE_CHARS * MAX_LINES]
    num_lines = max(1, -(-len(shown) // LINE_CHARS))
    grid = np.full(num_lines * LINE_CHARS, np.nan, dtype=np.float32)
    grid[: len(shown)] = shown
    return grid.reshape(num_lines, LINE_CHARS)
