"""Holds units of a language model at values of one's own while it generates.

A recurrent layer's cell state (an LSTM's c, a GRU's h) is overwritten before every id that is read, those of the prompt
included, so that the gates go on from the value that was asked for. Values are absolute: those that a unit takes by
itself are what `jobs.probe` measures.

Letters: S slots, H units.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from textgen.errors import UserError
from textgen.model.language_model import STATES_PER_LAYER, LanguageModel

_WRITTEN = re.compile(r"(?:(\d+):)?(\d+)=([+-]?(?:\d+\.?\d*|\.\d+))")


@dataclass(frozen=True, kw_only=True)
class HeldUnit:
    """One unit of a layer, and the value that its cell state is held at."""

    unit: int
    """Place in the layer, from 0."""
    value: float
    layer: int = 1
    """Recurrent layer, from 1: the one that reads the ids."""

    def __str__(self) -> str:
        """Returns what `parse_held_unit` reads."""
        return f"{'' if self.layer == 1 else f'{self.layer}:'}{self.unit}={self.value:+g}"


def parse_held_unit(text: str) -> HeldUnit:
    """Reads `unit=value` or `layer:unit=value`, as `--unit` takes it: `17=+3`, `2:17=-0.5`.

    Raises:
        UserError: the text is not of that form.
    """
    found = _WRITTEN.fullmatch(text.replace(" ", ""))
    if found is None:
        raise UserError(f"--unit received {text!r}; write unit=value as 17=+3, or layer:unit=value as 2:17=-3")
    return HeldUnit(layer=int(found[1] or 1), unit=int(found[2]), value=float(found[3]))


class Steering:
    """The same values in every slot, at every step."""

    def __init__(self, held: Sequence[HeldUnit], model: LanguageModel) -> None:
        """Prepares the values.

        Raises:
            UserError: the model has no such layer or unit, or a unit is given twice.
        """
        _check(held, model)
        states_per_layer = STATES_PER_LAYER[model.spec.cell]
        self._by_part: dict[int, tuple[Any, Any]] = {}  # Number of a state's tensor -> which units, their values; [H].
        for layer in {one.layer for one in held}:
            is_held = np.zeros(model.spec.widths[layer - 1], dtype=np.bool_)
            values = np.zeros(len(is_held), dtype=np.float32)
            for one in held:
                if one.layer == layer:
                    is_held[one.unit], values[one.unit] = True, one.value
            # The cell state is the last of a layer's tensors: c after h, or h alone.
            self._by_part[layer * states_per_layer - 1] = (tf.constant(is_held), tf.constant(values))

    def __call__(self, state: Sequence[Any]) -> list[Any]:
        """Returns the state, tensors [S, H], with the units at their values."""
        return [
            tf.where(*self._by_part[number], part) if number in self._by_part else part
            for number, part in enumerate(state)
        ]


def _check(held: Sequence[HeldUnit], model: LanguageModel) -> None:
    widths = model.spec.widths
    for number, one in enumerate(held):
        written = f"{one.layer}:{one.unit}"
        if not 1 <= one.layer <= len(widths):
            raise UserError(f"--unit names {written}, but the model has layers 1 to {len(widths)}; name one of these")
        if not 0 <= one.unit < widths[one.layer - 1]:
            raise UserError(
                f"--unit names {written}, but layer {one.layer} has units 0 to {widths[one.layer - 1] - 1}; "
                "name one of these"
            )
        if any((one.layer, one.unit) == (other.layer, other.unit) for other in held[:number]):
            raise UserError(f"--unit names {written} twice; give it one value")
