"""Holds chosen units of a language model at fixed values while it generates.

The cell state of a recurrent layer (an LSTM's c, a GRU's h) is overwritten before every id that is read, including
those of the prompt, so the gates start from the held value. Values are absolute; `jobs.probe` measures the values that
a unit takes by itself.

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
from textgen.model.language_model import LanguageModel
from textgen.spec.cells import CELLS

_WRITTEN = re.compile(r"(?:(\d+):)?(\d+)=([+-]?(?:\d+\.?\d*|\.\d+))")


@dataclass(frozen=True, kw_only=True)
class HeldUnit:
    """A unit of a recurrent layer and the value at which its cell state is held."""

    unit: int
    """Index within the layer, from 0."""
    value: float
    layer: int = 1
    """Number of the recurrent layer; 1 is the first, which reads the ids."""

    def __str__(self) -> str:
        """Returns the form that `parse_held_unit` reads."""
        return f"{'' if self.layer == 1 else f'{self.layer}:'}{self.unit}={self.value:+g}"


def parse_held_unit(text: str) -> HeldUnit:
    """Parses `unit=value` or `layer:unit=value`, the form of `--unit`: `17=+3`, `2:17=-0.5`.

    Raises:
        UserError: the text does not have that form.
    """
    found = _WRITTEN.fullmatch(text.replace(" ", ""))
    if found is None:
        raise UserError(
            f"--unit received {text!r}; write unit=value, such as 17=+3, or layer:unit=value, such as 2:17=-3"
        )
    return HeldUnit(layer=int(found[1] or 1), unit=int(found[2]), value=float(found[3]))


class Steering:
    """Holds the same units at the same values in every slot, at every step."""

    def __init__(self, held: Sequence[HeldUnit], model: LanguageModel) -> None:
        """Prepares the values.

        Raises:
            UserError: the model lacks one of the layers or units, or a unit occurs twice.
        """
        _check(held, model)
        states_per_layer = CELLS[model.spec.cell].num_states
        self._by_part: dict[int, tuple[Any, Any]] = {}  # By index of the state tensor: mask and values, [H].
        for layer in {one.layer for one in held}:
            is_held = np.zeros(model.spec.widths[layer - 1], dtype=np.bool_)
            values = np.zeros(len(is_held), dtype=np.float32)
            for one in held:
                if one.layer == layer:
                    is_held[one.unit], values[one.unit] = True, one.value
            # The cell state is the layer's last state tensor: c after h, or h alone.
            self._by_part[layer * states_per_layer - 1] = (tf.constant(is_held), tf.constant(values))

    def __call__(self, state: Sequence[Any]) -> list[Any]:
        """Returns the state, tensors [S, H], with the held units at their values."""
        return [
            tf.where(*self._by_part[number], part) if number in self._by_part else part
            for number, part in enumerate(state)
        ]


def _check(held: Sequence[HeldUnit], model: LanguageModel) -> None:
    widths = model.spec.widths
    for number, one in enumerate(held):
        written = f"{one.layer}:{one.unit}"
        if not 1 <= one.layer <= len(widths):
            raise UserError(
                f"--unit names {written}, but the model has layers 1 to {len(widths)}; name a unit of one of these"
            )
        if not 0 <= one.unit < widths[one.layer - 1]:
            raise UserError(
                f"--unit names {written}, but layer {one.layer} has units 0 to {widths[one.layer - 1] - 1}; "
                "name one of these"
            )
        if any((one.layer, one.unit) == (other.layer, other.unit) for other in held[:number]):
            raise UserError(f"--unit names {written} twice; give it one value")
