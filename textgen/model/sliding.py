"""A language model that has learnt the last character of windows alone, used as it was trained.

It has seen nothing but the last T ids, read from a zero state, so that a state carried further means nothing to it.
Reading T ids anew for every character takes T steps one after another. Instead the states after the last 1, 2, ... T
ids are kept side by side, and one more id steps all of them at once: the same products in one matrix, and the same
interface as that of a model whose state is carried. Until T ids were read, the T-th of them is the state after all of
them, since the zeros before it have moved up.

Letters: B batch rows, T context length, C ids of a call, H units, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from textgen.model.language_model import LanguageModel, State
from textgen.spec import RunSpec


class SlidingModel:
    """Logits that depend on the last T ids alone."""

    def __init__(self, model: LanguageModel, *, context_length: int) -> None:
        """Wraps a model, whose weights are read at every call; `context_length` is T."""
        self.vocab_size = model.vocab_size
        self.lead_ids = context_length - 1
        self._model = model
        self._context_length = context_length

    def initial_state(self, batch_size: int) -> State:
        """Returns the state before the first id: zeros [B, T, H], the states after the last 0 to T - 1 ids."""
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
    """Returns what generates and is scored for a model trained as `spec` says: itself, or its sliding form."""
    if spec.training.loss_at == "every":
        return model
    return SlidingModel(model, context_length=spec.windows.context_length)
