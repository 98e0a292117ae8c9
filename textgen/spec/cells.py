"""The cell types of recurrent layers: a new one is added here, and nowhere else unless it is no layer of Keras."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What the sizes and the speed of a recurrent layer depend on."""

    keras_layer: str
    """Name of its class in `keras.layers`."""
    num_gates: int
    """Blocks of `units` columns in its kernels; the recurrent kernel is [units, num_gates * units]."""
    num_states: int
    """State tensors [B, units] per layer; the last one is the cell state, the first one the output."""
    num_biases: int
    """Vectors of num_gates * units biases."""
    trains_on_cpu: bool
    """Whether `model.recurrence` has a faster form of it for training on CPUs, with products in bfloat16."""


CELLS = {
    "lstm": Cell(keras_layer="LSTM", num_gates=4, num_states=2, num_biases=1, trains_on_cpu=True),
    # The second bias is in the recurrent product, as in cuDNN.
    "gru": Cell(keras_layer="GRU", num_gates=3, num_states=1, num_biases=2, trains_on_cpu=False),
}
"""By the value of `model.cell`."""
