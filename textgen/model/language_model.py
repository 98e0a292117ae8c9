"""The language model: ids in, logits of the next id out, LSTM state carried by the caller.

Letters: B batch rows, T time, V vocabulary, H units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from textgen.errors import UserError
from textgen.spec import ModelSpec

State = list[tf.Tensor]
"""h and c of each layer in turn: 2 * num_layers tensors, each [B, H]."""


@dataclass(frozen=True, kw_only=True)
class DropoutKey:
    """Says which dropout masks to draw: the same for a row of the global batch, whichever worker computes it."""

    seed: int
    step: tf.Tensor
    """Training step, int64 scalar."""
    first_row: int
    """Row of the global batch at which this batch begins."""


class LanguageModel(keras.Model):  # type: ignore[misc]
    """Embedding or one-hot -> LSTMs, dropout after each -> optional Dense relu -> logits over the vocabulary."""

    def __init__(self, spec: ModelSpec, *, vocab_size: int, seed: int = 0) -> None:
        super().__init__(name="language_model")
        self.spec = spec
        self.vocab_size = vocab_size
        seeds = iter(np.random.SeedSequence(seed).generate_state(16 + 2 * spec.num_layers).tolist())
        glorot = keras.initializers.GlorotUniform
        self.embedding = None
        width = vocab_size
        if spec.input == "embedding":
            width = spec.embedding_dim
            initializer = keras.initializers.RandomUniform(seed=next(seeds))
            self.embedding = keras.layers.Embedding(
                vocab_size, width, embeddings_initializer=initializer, name="embedding"
            )
            self.embedding.build((None, None))
        self.lstms = []
        for index in range(spec.num_layers):
            lstm = keras.layers.LSTM(
                spec.units,
                return_sequences=True,
                return_state=True,
                kernel_initializer=glorot(seed=next(seeds)),
                recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
                name=f"lstm_{index + 1}",
            )
            lstm.build((None, None, width))
            self.lstms.append(lstm)
            width = spec.units
        self.hidden = None
        if spec.dense_units is not None:
            self.hidden = keras.layers.Dense(
                spec.dense_units, activation="relu", kernel_initializer=glorot(seed=next(seeds)), name="dense"
            )
            self.hidden.build((None, None, width))
            width = spec.dense_units
        self.logits = keras.layers.Dense(vocab_size, kernel_initializer=glorot(seed=next(seeds)), name="logits")
        self.logits.build((None, None, width))
        self.built = True

    def initial_state(self, batch_size: int) -> State:
        """Returns the state before the first id: zeros, 2 * num_layers tensors [B, H]."""
        return [tf.zeros((batch_size, self.spec.units)) for _ in range(2 * self.spec.num_layers)]

    def call(
        self, ids: tf.Tensor, state: Sequence[tf.Tensor], *, dropout: DropoutKey | None = None
    ) -> tuple[tf.Tensor, State]:
        """Returns the logits after each id, [B, T, V], and the state after the last.

        Args:
            ids: [B, T] int32.
            state: as `initial_state` returns it.
            dropout: which masks to apply; None applies none (inference).
        """
        values = self._input(ids)
        new_state: State = []
        for index, lstm in enumerate(self.lstms):
            values, h, c = lstm(values, initial_state=list(state[2 * index : 2 * index + 2]))
            new_state += [h, c]
            values = _dropped(values, self.spec.dropout, dropout, layer=index)
        if self.hidden is not None:
            values = _dropped(self.hidden(values), self.spec.dense_dropout, dropout, layer=len(self.lstms))
        return tf.cast(self.logits(values), tf.float32), new_state

    def step(self, ids: tf.Tensor, state: Sequence[tf.Tensor]) -> tuple[tf.Tensor, State]:
        """Returns the logits after one more id of every row, [B, V], and the new state; ids are [B] int32."""
        values = self._input(ids)
        new_state: State = []
        for index, lstm in enumerate(self.lstms):
            values, (h, c) = lstm.cell(values, list(state[2 * index : 2 * index + 2]))
            new_state += [h, c]
        if self.hidden is not None:
            values = self.hidden(values)
        return tf.cast(self.logits(values), tf.float32), new_state

    def get_weights_by_name(self) -> dict[str, np.ndarray[Any, Any]]:
        """Returns the weights as arrays, by layer and name."""
        return {name: variable.numpy() for name, variable in self.variables_by_name().items()}

    def set_weights_by_name(self, weights: dict[str, np.ndarray[Any, Any]]) -> None:
        """Sets all weights.

        Raises:
            UserError: a name or a shape differs from this model's.
        """
        variables = self.variables_by_name()
        if weights.keys() != variables.keys():
            odd = sorted(weights.keys() ^ variables.keys())
            raise UserError(f"the weights do not fit the model: {', '.join(odd)} stand only on one side")
        for name, variable in variables.items():
            if weights[name].shape != tuple(variable.shape):
                raise UserError(
                    f"the weights do not fit the model: {name} is {weights[name].shape}, not {tuple(variable.shape)}"
                )
            variable.assign(weights[name])

    def variables_by_name(self) -> dict[str, Any]:
        """Returns the trainable variables as `layer/name`, in a fixed order."""
        layers = [self.embedding, *self.lstms, self.hidden, self.logits]
        return {
            f"{layer.name}/{variable.name}": variable
            for layer in layers
            if layer is not None
            for variable in layer.trainable_variables
        }

    def _input(self, ids: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(ids, self.vocab_size) if self.embedding is None else self.embedding(ids)


def _dropped(values: tf.Tensor, rate: float, key: DropoutKey | None, *, layer: int) -> tf.Tensor:
    if key is None or rate == 0:
        return values
    return values * dropout_mask(tf.shape(values), rate=rate, key=key, layer=layer)


def dropout_mask(shape: tf.Tensor, *, rate: float, key: DropoutKey, layer: int) -> tf.Tensor:
    """Returns a mask of 0 and 1 / (1 - rate), [B, T, H], drawn from (seed, step, layer, global row) alone.

    A counter-based generator (Philox) turns each counter into four numbers, so that a row's numbers begin at a counter
    that only its place in the global batch determines.
    """
    row_size = shape[1] * shape[2]
    counters_per_row = (row_size + 3) // 4
    first = tf.cast(key.first_row * counters_per_row, tf.uint64)
    purpose = tf.cast(key.step, tf.uint64) * tf.constant(64, tf.uint64) + tf.constant(layer, tf.uint64)
    uniform = tf.raw_ops.StatelessRandomUniformV2(
        shape=tf.stack([shape[0], 4 * counters_per_row]),
        key=tf.constant([key.seed], tf.uint64),
        counter=tf.stack([first, purpose]),
        alg=tf.random.Algorithm.PHILOX.value,
    )
    kept = tf.cast(uniform[:, :row_size] >= rate, tf.float32) / (1 - rate)
    return tf.reshape(kept, shape)
