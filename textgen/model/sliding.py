"""Runs a language model that was trained only on the last character of each window.

Such a model has only ever read T ids from a zero state, so a state carried further is meaningless to it. Reading the
last T ids again for every character would take T sequential steps. Instead, this module keeps the states after the last
1, 2, ... T ids side by side and steps all of them by one id at once: one matrix product, with the same interface as a
model that carries its state. Before T ids have been read, the T-th state is the state after all ids so far, since it
started from zeros.

Letters: B batch rows, T context length, C ids of a call, H units, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from textgen.model.language_model import LanguageModel, State
from textgen.spec import RunSpec


class SlidingModel:
    """A language model whose logits depend only on the last T ids."""

    def __init__(self, model: LanguageModel, *, context_length: int) -> None:
        """Wraps a model and reads its weights at every call; `context_length` is T."""
        self.vocab_size = model.vocab_size
        self.lead_ids = context_length - 1
        self._model = model
        self._context_length = context_length

    def initial_state(self, batch_size: int) -> State:
        """Returns the state before the first id: zeros [B, T, H], for the last 0 to T - 1 ids."""
        shape = (batch_size, self._context_length)
        return [tf.zeros((*shape, part.shape[-1])) for part in self._model.initial_state(1)]

    def step(self, ids: tf.Tensor, state: Sequence[tf.Tensor]) -> tuple[tf.Tensor, State]:
        """Returns the logits after one more id of every row, [B, V], and the new state; ids are [B] int32."""
        values, new_state = self._read(ids, state)
        return self._model.head(values), new_state

    def __call__(self, ids: tf.Tensor, state: Sequence[tf.Tensor]) -> tuple[tf.Tensor, State]:
        """Returns the logits after each id, [B, C, V], and the state after the last; ids are [B, C] int32."""
        num_ids = tf.shape(ids)[1]

        def one_step(position: tf.Tensor, written: tf.TensorArray, *state: tf.Tensor) -> tuple[tf.Tensor, ...]:
            values, new_state = self._read(ids[:, position], state)
            return position + 1, written.write(position, values), *new_state

        width = self._model.unit_states(state)[-1].shape[-1]
        written = tf.TensorArray(tf.float32, num_ids, element_shape=[ids.shape[0], width])
        _, written, *new_state = tf.while_loop(
            lambda position, *_: position < num_ids, one_step, (tf.constant(0), written, *state)
        )
        return self._model.head(tf.transpose(written.stack(), [1, 0, 2])), new_state

    def _read(self, ids: tf.Tensor, state: Sequence[tf.Tensor]) -> tuple[tf.Tensor, State]:
        """Returns the output after the last T ids, [B, H], and the new state."""
        rows = [tf.reshape(part, [-1, part.shape[-1]]) for part in state]  # [B * T, H]
        values, rows = self._model.read(tf.repeat(ids, self._context_length), rows)
        new_state: State = []
        for old, new in zip(state, rows, strict=True):
            grown = tf.reshape(new, tf.shape(old))  # After the last 1 to T ids.
            new_state.append(tf.concat([tf.zeros_like(grown[:, :1]), grown[:, :-1]], axis=1))
        outputs = tf.reshape(values, [-1, self._context_length, values.shape[-1]])
        return outputs[:, -1], new_state


def as_trained(model: LanguageModel, spec: RunSpec) -> LanguageModel | SlidingModel:
    """Returns the form of a model to generate with and to score: sliding if it was trained with `loss_at=last`."""
    if spec.training.loss_at == "every":
        return model
    return SlidingModel(model, context_length=spec.windows.context_length)
