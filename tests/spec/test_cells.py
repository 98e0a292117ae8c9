"""The sizes that the registry of cells states are those of Keras's layers."""

from __future__ import annotations

import typing

import pytest

from textgen.settings import field_types
from textgen.spec import ModelSpec
from textgen.spec.cells import CELLS


def test_every_value_of_the_setting_is_a_cell() -> None:
    assert set(typing.get_args(field_types(ModelSpec)["cell"])) == set(CELLS)


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", CELLS)
def test_sizes_are_those_of_the_layer(name: str) -> None:
    keras = pytest.importorskip("keras")
    cell = CELLS[name]
    layer = getattr(keras.layers, cell.keras_layer)(5, return_state=True)
    layer.build((None, None, 3))
    kernel, recurrent_kernel, bias = layer.weights
    assert kernel.shape == (3, cell.num_gates * 5)
    assert recurrent_kernel.shape == (5, cell.num_gates * 5)
    assert bias.shape in [(cell.num_gates * 5,), (cell.num_biases, cell.num_gates * 5)]
    assert layer.count_params() == cell.num_gates * 5 * (3 + 5 + cell.num_biases)
    assert len(layer.cell.get_initial_state(2)) == cell.num_states
