"""The Keras layers of the language model, built and named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from textgen.spec import ModelSpec
from textgen.spec.cells import CELLS


def embedding(size: int, width: int, *, initializer: Any, policy: str, name: str) -> Any:
    """Returns a table with a row of `width` numbers for each of `size` ids."""
    layer = keras.layers.Embedding(size, width, embeddings_initializer=initializer, dtype=policy, name=name)
    layer.build((None, None))
    return layer


def recurrent(spec: ModelSpec, number: int, *, width: int, seeds: Iterator[int], policy: str) -> Any:
    """Returns recurrent layer `number`, from 1, for inputs of `width` numbers; takes two seeds."""
    layer = getattr(keras.layers, CELLS[spec.cell].keras_layer)(
        spec.widths[number - 1],
        return_sequences=True,
        return_state=True,
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
        dtype=policy,
        name=f"{spec.cell}_{number}",
    )
    layer.build((None, None, width))
    return layer


def dense(
    units: int, *, width: int, seed: int, name: str, activation: str | None = None, policy: str | None = None
) -> Any:
    """Returns a Dense layer for inputs of `width` numbers."""
    initializer = keras.initializers.GlorotUniform(seed=seed)
    layer = keras.layers.Dense(units, activation=activation, kernel_initializer=initializer, dtype=policy, name=name)
    layer.build((None, None, width))
    return layer
