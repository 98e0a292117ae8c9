"""The language model: ids in, logits of the next id out, recurrent state carried by the caller.

Letters: B batch rows, T time, V vocabulary, H units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from textgen.model import recurrence
from textgen.model.dropout import DropoutKey, dropped
from textgen.model.held_conditions import held_conditions
from textgen.model.named_weights import NamedWeights, by_name
from textgen.spec import ModelSpec
from textgen.spec.model import LONGEST_UNROLLED

State = list[tf.Tensor]
"""h and c of each LSTM layer, h of each GRU layer, in turn: tensors [B, H] with the layer's own H.

Where controls are held, what was told last follows: [B, C], one for each of C conditions, 0 for nothing.
"""
STATES_PER_LAYER = {"lstm": 2, "gru": 1}


class LanguageModel(NamedWeights, keras.Model):  # type: ignore[misc]
    """Ids, read as `spec.input` says -> recurrent layers, dropout after each -> optional Dense relu -> logits."""

    lead_ids = 0
    """Ids that scoring must read before those that it counts: the state may begin anywhere."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        vocab_size: int,
        controls: Sequence[range] = (),
        seed: int = 0,
        mixed_precision: bool = False,
    ) -> None:
        """Builds the layers with initial weights that the seed determines.

        Args:
            spec: the layers.
            vocab_size: V.
            controls: the control ids of each condition, as the vocabulary has them.
            seed: of the initial weights.
            mixed_precision: computes in bfloat16: on CPUs the products of the LSTM layers in training; on GPUs, and of
                a GRU everywhere, all but the logits. Weights keep 32 bits.
        """
        super().__init__(name="language_model")
        self.spec = spec
        self.vocab_size = vocab_size
        # On GPUs cuDNN's LSTM, behind Keras's layer, is faster than our own.
        self._trains_own_lstm = spec.cell == "lstm" and not tf.config.list_logical_devices("GPU")
        self._product_dtype = tf.bfloat16 if mixed_precision else tf.float32
        policy = "mixed_bfloat16" if mixed_precision and not self._trains_own_lstm else "float32"
        self._held = tuple(controls) if spec.holds_controls else ()
        seeds = iter(np.random.SeedSequence(seed).generate_state(16 + 2 * spec.num_layers).tolist())
        glorot = keras.initializers.GlorotUniform
        self.embedding = None
        width = 1 if spec.input == "scaled" else vocab_size
        if spec.input == "embedding":
            width = spec.embedding_dim
            initializer = keras.initializers.RandomUniform(seed=next(seeds))
            self.embedding = keras.layers.Embedding(
                vocab_size, width, embeddings_initializer=initializer, dtype=policy, name="embedding"
            )
            self.embedding.build((None, None))
        self.told = None
        if self._held:
            # Read beside an id a control means something else than read as one, so that it has another row; all ids
            # have one, of which only controls' are read, so that another vocabulary is merged as in every table.
            self.told = keras.layers.Embedding(
                vocab_size, width, embeddings_initializer="zeros", dtype=policy, name="told"
            )
            self.told.build((None, None))
        self.recurrent = []
        for number, units in enumerate(spec.widths, start=1):
            recurrent = (keras.layers.LSTM if spec.cell == "lstm" else keras.layers.GRU)(
                units,
                return_sequences=True,
                return_state=True,
                kernel_initializer=glorot(seed=next(seeds)),
                recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
                dtype=policy,
                name=f"{spec.cell}_{number}",
            )
            recurrent.build((None, None, width))
            self.recurrent.append(recurrent)
            width = units
        self.hidden = None
        if spec.dense_units is not None:
            self.hidden = keras.layers.Dense(
                spec.dense_units,
                activation="relu",
                kernel_initializer=glorot(seed=next(seeds)),
                dtype=policy,
                name="dense",
            )
            self.hidden.build((None, None, width))
            width = spec.dense_units
        self.logits = keras.layers.Dense(vocab_size, kernel_initializer=glorot(seed=next(seeds)), name="logits")
        self.logits.build((None, None, width))
        self.built = True

    def initial_state(self, batch_size: int) -> State:
        """Returns the state before the first id: zeros."""
        states_per_layer = STATES_PER_LAYER[self.spec.cell]
        widths = [units for units in self.spec.widths for _ in range(states_per_layer)]
        return [tf.zeros((batch_size, width)) for width in (*widths, *filter(None, [len(self._held)]))]

    def unit_states(self, state: Sequence[tf.Tensor]) -> State:
        """Returns the part of a state that the recurrent layers' units make."""
        return list(state[: STATES_PER_LAYER[self.spec.cell] * len(self.recurrent)])

    def call(
        self,
        ids: tf.Tensor,
        state: Sequence[tf.Tensor],
        *,
        dropout: DropoutKey | None = None,
        last_only: bool = False,
    ) -> tuple[tf.Tensor, State]:
        """Returns the logits after each id, [B, T, V], and the state after the last.

        Args:
            ids: [B, T] int32.
            state: as `initial_state` returns it.
            dropout: which masks to apply in training; None is inference.
            last_only: computes the logits after the last id alone, [B, 1, V].
        """
        values, new_state = self.outputs(ids, state, dropout=dropout, last_only=last_only)
        return self.head(values, dropout=dropout), new_state

    def outputs(
        self,
        ids: tf.Tensor,
        state: Sequence[tf.Tensor],
        *,
        dropout: DropoutKey | None = None,
        last_only: bool = False,
    ) -> tuple[tf.Tensor, State]:
        """Returns the last layer's output after each id, [B, T, H], and the state after the last.

        Takes what `call` does.
        """
        if dropout is not None and self._unrolls(ids):
            return self._unrolled(ids, state, dropout=dropout, last_only=last_only)
        told = self._told(ids, state)
        values = self._input(ids, told)
        new_state: State = []
        for index, (layer, part) in enumerate(zip(self.recurrent, self._by_layer(state), strict=True)):
            values, *new_part = layer(values, initial_state=part)
            if last_only and index == len(self.recurrent) - 1:
                values = new_part[0][:, None]  # h is the last output.
            new_state += [tf.cast(one, tf.float32) for one in new_part]
            values = dropped(values, self.spec.dropout, dropout, layer=index)
        return values, new_state + self._held_state(told)

    def step(self, ids: tf.Tensor, state: Sequence[tf.Tensor]) -> tuple[tf.Tensor, State]:
        """Returns the logits after one more id of every row, [B, V], and the new state; ids are [B] int32."""
        values, new_state = self.read(ids, state)
        return self.head(values), new_state

    def read(self, ids: tf.Tensor, state: Sequence[tf.Tensor]) -> tuple[tf.Tensor, State]:
        """Returns the last layer's output after one more id of every row, [B, H], and the new state; ids are [B]."""
        told = self._told(ids[:, None], state)
        values = self._input(ids[:, None], told)[:, 0]
        new_state: State = []
        for layer, part in zip(self.recurrent, self._by_layer(state), strict=True):
            values, new_part = layer.cell(values, part)
            new_state += [tf.cast(one, tf.float32) for one in new_part]
        return values, new_state + self._held_state(told)

    def head(self, values: tf.Tensor, *, dropout: DropoutKey | None = None) -> tf.Tensor:
        """Returns the logits for outputs of the last recurrent layer, [..., V]; with `dropout` these are [B, T, H]."""
        if self.hidden is not None:
            values = dropped(self.hidden(values), self.spec.dense_dropout, dropout, layer=len(self.recurrent))
        return tf.cast(self.logits(values), tf.float32)

    def variables_by_name(self) -> dict[str, Any]:
        """Returns the trainable variables as `layer/name`, in a fixed order."""
        return by_name([self.embedding, self.told, *self.recurrent, self.hidden, self.logits])

    def layer_groups(self) -> list[list[str]]:
        """Returns the names of the variables in groups of layers from the input to the output, in the same order.

        The embedding, each recurrent layer, and what stands above them; groups may learn at different rates and times.
        """
        names = list(self.variables_by_name())
        layers = [[self.embedding, self.told], *([layer] for layer in self.recurrent), [self.hidden, self.logits]]
        groups = [tuple(f"{layer.name}/" for layer in group if layer is not None) for group in layers]
        return [[name for name in names if name.startswith(group)] for group in groups if group]

    def vocabulary_axes(self) -> dict[str, int]:
        """Returns which variables have an entry for each id, and along which axis: what another vocabulary changes."""
        axes = {"logits/kernel": 1, "logits/bias": 0}
        if self.embedding is not None:
            axes["embedding/embeddings"] = 0
        elif self.spec.input == "one_hot":
            axes[f"{self.recurrent[0].name}/kernel"] = 0
        if self.told is not None:
            axes["told/embeddings"] = 0
        return axes

    def _told(self, ids: tf.Tensor, state: Sequence[tf.Tensor]) -> tf.Tensor | None:
        """Returns which controls are held at each of the ids [B, T], [B, T, C]; None where none ever is."""
        return held_conditions(ids, state[-1], self._held) if self._held else None

    def _held_state(self, told: tf.Tensor | None) -> State:
        """Returns what of the state says what was told last."""
        return [] if told is None else [tf.cast(told[:, -1], tf.float32)]

    def _input(self, ids: tf.Tensor, told: tf.Tensor | None) -> tf.Tensor:
        """Returns what the first recurrent layer reads for ids [B, T] and held controls: [B, T, inputs]."""
        if self.spec.input == "scaled":
            return tf.cast(ids, tf.float32)[..., None] / self.vocab_size
        if self.embedding is not None:
            return self._with_held(self.embedding(ids), told)
        return self._with_held(tf.one_hot(ids, self.vocab_size), told)

    def _with_held(self, values: tf.Tensor, told: tf.Tensor | None, *, kernel: tf.Tensor | None = None) -> tf.Tensor:
        """Returns values [B, T, inputs] and, added to them, what the controls held beside them [B, T, C] are read as.

        With a kernel, the values are the inputs' product with it.
        """
        if told is None:
            return values
        assert self.told is not None  # Built where controls are held.
        table = self.told.embeddings if kernel is None else tf.matmul(self.told.embeddings, kernel)
        for controls in tf.unstack(told, axis=-1):
            values += tf.cast(tf.where(controls[..., None] > 0, tf.gather(table, controls), 0.0), values.dtype)
        return values

    def _unrolls(self, ids: tf.Tensor) -> bool:
        """Says whether a training step takes our own LSTM."""
        return self._trains_own_lstm and ids.shape[1] is not None and ids.shape[1] <= LONGEST_UNROLLED

    def _unrolled(
        self, ids: tf.Tensor, state: Sequence[tf.Tensor], *, dropout: DropoutKey, last_only: bool
    ) -> tuple[tf.Tensor, State]:
        """Returns what `outputs` does, by our own LSTM."""
        told = self._told(ids, state)
        values = None
        new_state: State = []
        for index, (layer, part) in enumerate(zip(self.recurrent, self._by_layer(state), strict=True)):
            projected = self._projected(ids, told, values, layer)
            kernel = recurrence.in_order(tf.convert_to_tensor(layer.cell.recurrent_kernel))
            outputs, *new_part = recurrence.lstm(projected, kernel, *part, dtype=self._product_dtype)
            is_last = last_only and index == len(self.recurrent) - 1  # Then no gradient goes through the other outputs.
            values = new_part[0][:, None] if is_last else _swapped(outputs)
            values = dropped(values, self.spec.dropout, dropout, layer=index)
            new_state += new_part
        return values, new_state + self._held_state(told)

    def _projected(self, ids: tf.Tensor, told: tf.Tensor | None, values: tf.Tensor | None, layer: Any) -> tf.Tensor:
        """Returns the inputs' share of a layer's gates as our own LSTM reads them, [T, B, 4H].

        What an id adds to the gates of the first layer is one row of a table, so that no product is made per position.

        Args:
            ids: [B, T].
            told: the controls held beside them, [B, T, C].
            values: what the layer reads, [B, T, inputs]; None for the first one.
            layer: Keras's LSTM.
        """
        kernel = recurrence.in_order(tf.convert_to_tensor(layer.cell.kernel))
        bias = recurrence.in_order(tf.convert_to_tensor(layer.cell.bias))
        if values is not None:
            inputs = tf.reshape(_swapped(values), [-1, kernel.shape[0]])
            projected = recurrence.product(inputs, kernel, dtype=self._product_dtype) + bias
            return tf.reshape(projected, [ids.shape[1], -1, kernel.shape[1]])
        if self.spec.input == "scaled":
            return self._input(tf.transpose(ids), None) * kernel[0] + bias
        table = kernel if self.embedding is None else tf.matmul(self.embedding.embeddings, kernel)
        if told is not None:
            told = _swapped(told)
        return self._with_held(tf.gather(table + bias, tf.transpose(ids)), told, kernel=kernel)

    def _by_layer(self, state: Sequence[tf.Tensor]) -> list[list[tf.Tensor]]:
        """Returns the state of each recurrent layer."""
        size = STATES_PER_LAYER[self.spec.cell]
        return [list(state[start : start + size]) for start in range(0, size * len(self.recurrent), size)]


def _swapped(values: tf.Tensor) -> tf.Tensor:
    """Returns values with rows and positions in each other's place: [B, T, ...] as [T, B, ...], and back."""
    return tf.transpose(values, [1, 0, 2])
