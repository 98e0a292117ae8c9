"""The language model: maps ids to logits of the next id; the caller carries the recurrent state.

Letters: B batch rows, T time, V vocabulary, H units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from textgen.model import layers, recurrence
from textgen.model.dropout import DropoutKey, dropped
from textgen.model.held_conditions import held_conditions
from textgen.model.named_weights import NamedWeights, by_name
from textgen.spec import ModelSpec
from textgen.spec.cells import CELLS
from textgen.spec.model import LONGEST_UNROLLED

State = list[tf.Tensor]
"""h and c of each LSTM layer, h of each GRU layer, in turn: tensors [B, H] with the layer's own H.

If controls are held, the control held for each of C conditions follows: [B, C], 0 for none.
"""
HELD_NAME = "told"
"""Name of the layer of held controls in stored checkpoints."""


class LanguageModel(NamedWeights, keras.Model):  # type: ignore[misc]
    """Ids, encoded as `spec.input` -> recurrent layers, dropout after each -> optional Dense relu -> logits."""

    lead_ids = 0
    """Number of ids to read before the first scored id: none, since the state may begin anywhere."""

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
            controls: the control ids of each condition, see `Vocabulary.controls`.
            seed: seed of the initial weights.
            mixed_precision: computes in bfloat16: for an LSTM on CPUs, its products in training; for a GRU, and for an
                LSTM on GPUs, everything but the logits. Weights keep 32 bits.
        """
        super().__init__(name="language_model")
        self.spec = spec
        self.vocab_size = vocab_size
        # On GPUs cuDNN's LSTM, behind Keras's layer, is faster than our own.
        self._trains_own_lstm = CELLS[spec.cell].trains_on_cpu and not tf.config.list_logical_devices("GPU")
        self._product_dtype = tf.bfloat16 if mixed_precision else tf.float32
        policy = "mixed_bfloat16" if mixed_precision and not self._trains_own_lstm else "float32"
        self._controls = tuple(controls) if spec.holds_controls else ()
        seeds = iter(np.random.SeedSequence(seed).generate_state(16 + 2 * spec.num_layers).tolist())
        width = self._build_inputs(seeds, policy)
        self.recurrent = []
        for number, units in enumerate(spec.widths, start=1):
            self.recurrent.append(layers.recurrent(spec, number, width=width, seeds=seeds, policy=policy))
            width = units
        self.hidden = None
        if spec.dense_units is not None:
            self.hidden = layers.dense(
                spec.dense_units, width=width, seed=next(seeds), name="dense", activation="relu", policy=policy
            )
            width = spec.dense_units
        self.logits = layers.dense(vocab_size, width=width, seed=next(seeds), name="logits")
        self.built = True

    def _build_inputs(self, seeds: Iterator[int], policy: str) -> int:
        """Builds the embeddings of ids and of held controls, and returns the width of the first layer's input."""
        width: int = 1 if self.spec.input == "scaled" else self.vocab_size
        self.embedding = self.held = None
        if self.spec.input == "embedding":
            width = self.spec.embedding_dim
            initializer = keras.initializers.RandomUniform(seed=next(seeds))
            self.embedding = layers.embedding(
                self.vocab_size, width, initializer=initializer, policy=policy, name="embedding"
            )
        if self._controls:
            # A control held beside an id needs another row than the same control read as an id. The table has a row for
            # every id, though only those of controls are used, so that a new vocabulary is merged as in other tables.
            self.held = layers.embedding(self.vocab_size, width, initializer="zeros", policy=policy, name=HELD_NAME)
        return width

    def initial_state(self, batch_size: int) -> State:
        """Returns the state before the first id: zeros."""
        widths = [units for units in self.spec.widths for _ in range(CELLS[self.spec.cell].num_states)]
        return [tf.zeros((batch_size, width)) for width in (*widths, *filter(None, [len(self._controls)]))]

    def unit_states(self, state: Sequence[tf.Tensor]) -> State:
        """Returns the part of a state that belongs to the recurrent layers, without held controls."""
        return list(state[: CELLS[self.spec.cell].num_states * len(self.recurrent)])

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
            state: see `initial_state`.
            dropout: the masks to apply in training; None applies none (inference).
            last_only: computes only the logits after the last id, [B, 1, V].
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

        See `call` for the arguments.
        """
        if dropout is not None and self._unrolls(ids):
            return self._unrolled(ids, state, dropout=dropout, last_only=last_only)
        held = self._held_controls(ids, state)
        values = self._input(ids, held)
        new_state: State = []
        for index, (layer, part) in enumerate(zip(self.recurrent, self._by_layer(state), strict=True)):
            values, *new_part = layer(values, initial_state=part)
            if last_only and index == len(self.recurrent) - 1:
                values = new_part[0][:, None]  # h is the last output.
            new_state += [tf.cast(one, tf.float32) for one in new_part]
            values = dropped(values, self.spec.dropout, dropout, layer=index)
        return values, new_state + self._held_state(held)

    def step(self, ids: tf.Tensor, state: Sequence[tf.Tensor]) -> tuple[tf.Tensor, State]:
        """Returns the logits after one more id of every row, [B, V], and the new state; ids are [B] int32."""
        values, new_state = self.read(ids, state)
        return self.head(values), new_state

    def read(self, ids: tf.Tensor, state: Sequence[tf.Tensor]) -> tuple[tf.Tensor, State]:
        """Returns the last layer's output after one more id of every row, [B, H], and the new state; ids are [B]."""
        held = self._held_controls(ids[:, None], state)
        values = self._input(ids[:, None], held)[:, 0]
        new_state: State = []
        for layer, part in zip(self.recurrent, self._by_layer(state), strict=True):
            values, new_part = layer.cell(values, part)
            new_state += [tf.cast(one, tf.float32) for one in new_part]
        return values, new_state + self._held_state(held)

    def head(self, values: tf.Tensor, *, dropout: DropoutKey | None = None) -> tf.Tensor:
        """Returns the logits, [..., V], for outputs of the last recurrent layer; with `dropout`, [B, T, H]."""
        if self.hidden is not None:
            values = dropped(self.hidden(values), self.spec.dense_dropout, dropout, layer=len(self.recurrent))
        return tf.cast(self.logits(values), tf.float32)

    def variables_by_name(self) -> dict[str, Any]:
        """Returns the trainable variables as `layer/name`, in a fixed order."""
        return by_name([self.embedding, self.held, *self.recurrent, self.hidden, self.logits])

    def layer_groups(self) -> list[list[str]]:
        """Returns the names of the variables in groups from input to output, in the order of `variables_by_name`.

        The groups are the embedding, each recurrent layer, and all layers above; each group may have its own learning
        rate and be unfrozen at its own time.
        """
        names = list(self.variables_by_name())
        groups = [[self.embedding, self.held], *([layer] for layer in self.recurrent), [self.hidden, self.logits]]
        prefixes = [tuple(f"{layer.name}/" for layer in group if layer is not None) for group in groups]
        return [[name for name in names if name.startswith(prefix)] for prefix in prefixes if prefix]

    def vocabulary_axes(self) -> dict[str, int]:
        """Returns the axis of the vocabulary of each variable that has one, by name."""
        axes = {"logits/kernel": 1, "logits/bias": 0}
        if self.embedding is not None:
            axes["embedding/embeddings"] = 0
        elif self.spec.input == "one_hot":
            axes[f"{self.recurrent[0].name}/kernel"] = 0
        if self.held is not None:
            axes[f"{HELD_NAME}/embeddings"] = 0
        return axes

    def _held_controls(self, ids: tf.Tensor, state: Sequence[tf.Tensor]) -> tf.Tensor | None:
        """Returns the controls held at each of the ids [B, T]: [B, T, C], or None if the model holds none."""
        return held_conditions(ids, state[-1], self._controls) if self._controls else None

    def _held_state(self, held: tf.Tensor | None) -> State:
        return [] if held is None else [tf.cast(held[:, -1], tf.float32)]

    def _input(self, ids: tf.Tensor, held: tf.Tensor | None) -> tf.Tensor:
        """Returns the input of the first recurrent layer for ids [B, T] and held controls: [B, T, inputs]."""
        if self.spec.input == "scaled":
            return tf.cast(ids, tf.float32)[..., None] / self.vocab_size
        if self.embedding is not None:
            return self._with_held(self.embedding(ids), held)
        return self._with_held(tf.one_hot(ids, self.vocab_size), held)

    def _with_held(self, values: tf.Tensor, held: tf.Tensor | None, *, kernel: tf.Tensor | None = None) -> tf.Tensor:
        """Returns values [B, T, inputs] plus the embeddings of the controls held at each position [B, T, C].

        With a kernel, the values are the inputs' product with it.
        """
        if held is None:
            return values
        assert self.held is not None  # Built if controls are held.
        table = self.held.embeddings if kernel is None else tf.matmul(self.held.embeddings, kernel)
        for controls in tf.unstack(held, axis=-1):
            values += tf.cast(tf.where(controls[..., None] > 0, tf.gather(table, controls), 0.0), values.dtype)
        return values

    def _unrolls(self, ids: tf.Tensor) -> bool:
        """Returns whether a training step uses our own LSTM."""
        return self._trains_own_lstm and ids.shape[1] is not None and ids.shape[1] <= LONGEST_UNROLLED

    def _unrolled(
        self, ids: tf.Tensor, state: Sequence[tf.Tensor], *, dropout: DropoutKey, last_only: bool
    ) -> tuple[tf.Tensor, State]:
        """Computes `outputs` with our own LSTM."""
        held = self._held_controls(ids, state)
        values = None
        new_state: State = []
        for index, (layer, part) in enumerate(zip(self.recurrent, self._by_layer(state), strict=True)):
            projected = self._projected(ids, held, values, layer)
            kernel = recurrence.in_order(tf.convert_to_tensor(layer.cell.recurrent_kernel))
            outputs, *new_part = recurrence.lstm(projected, kernel, *part, dtype=self._product_dtype)
            is_last = (
                last_only and index == len(self.recurrent) - 1
            )  # No gradient then flows through the other outputs.
            values = new_part[0][:, None] if is_last else _swapped(outputs)
            values = dropped(values, self.spec.dropout, dropout, layer=index)
            new_state += new_part
        return values, new_state + self._held_state(held)

    def _projected(self, ids: tf.Tensor, held: tf.Tensor | None, values: tf.Tensor | None, layer: Any) -> tf.Tensor:
        """Returns the inputs' share of a layer's gates in the layout of our own LSTM, [T, B, 4H].

        For the first layer, the contribution of an id is a row of a table, so no product is needed per position.

        Args:
            ids: [B, T].
            held: the controls held at each id, [B, T, C].
            values: the input of the layer, [B, T, inputs]; None for the first layer.
            layer: the Keras LSTM whose weights are used.
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
        if held is not None:
            held = _swapped(held)
        return self._with_held(tf.gather(table + bias, tf.transpose(ids)), held, kernel=kernel)

    def _by_layer(self, state: Sequence[tf.Tensor]) -> list[list[tf.Tensor]]:
        """Returns the state of each recurrent layer."""
        size = CELLS[self.spec.cell].num_states
        return [list(state[start : start + size]) for start in range(0, size * len(self.recurrent), size)]


def _swapped(values: tf.Tensor) -> tf.Tensor:
    """Swaps rows and positions: [B, T, ...] to [T, B, ...] and back."""
    return tf.transpose(values, [1, 0, 2])
