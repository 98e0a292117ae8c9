"""A language model that also reads a count model of its training text.

The log-probabilities of the counts are added to the logits, weighted by learnt gates:

    logits += sum over g of (a_g + s * (w_g . [h, features] + b_g)) * log p_g

p_g is what the counts say after a context of one length; a is 1 for the longest and 0 for the others. Without contexts
of words, the longest is the only one. The gates start at w = 0, b = 0. From the outputs h of the last recurrent layer
and from how often each context was counted, they learn where the recurrent layers are better than the counts, where the
counts are overconfident, and which lengths to believe.

Letters: B rows, T time, H units, L ids that the counts look back at, G gates, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from textgen.counts.table import CountTable
from textgen.model.count_lookup import CountLookup
from textgen.model.dropout import DropoutKey
from textgen.model.language_model import LanguageModel, State
from textgen.model.named_weights import by_name
from textgen.spec import ModelSpec

GATE_NAME = "counts"
"""Name of the gates' layer."""
GATE_SCALE = 0.1
"""s. Adam moves all weights by steps of one size. The gate sums hundreds of features and multiplies log-probabilities
of about -10, so without the scale a single step would change the logits too much."""


class CountedModel(LanguageModel):
    """A language model whose state ends with the last L ids, [B, L], the oldest first, 0 for none."""

    def __init__(self, spec: ModelSpec, *, counts: CountTable, **arguments: Any) -> None:
        """Builds the layers as `LanguageModel` does, and gates that start by adding the longest contexts in full."""
        super().__init__(spec, **arguments)
        self._lookup = CountLookup(counts)
        self.gate = keras.layers.Dense(self._lookup.num_gates, kernel_initializer="zeros", name=GATE_NAME)
        self.gate.build((None, None, spec.widths[-1] + self._lookup.num_features))
        self._at_start = tf.one_hot(self._lookup.num_gates - 1, self._lookup.num_gates)

    def initial_state(self, batch_size: int) -> State:
        """Returns the state before the first id: zeros."""
        return [*super().initial_state(batch_size), tf.zeros((batch_size, self._lookup.reach))]

    def call(
        self,
        ids: tf.Tensor,
        state: Sequence[tf.Tensor],
        *,
        dropout: DropoutKey | None = None,
        last_only: bool = False,
        places: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, State]:
        """Returns the logits after each id, [B, T, V], and the state after the last.

        Args:
            ids: [B, T] int32.
            state: as `initial_state` returns it.
            dropout: which masks to apply in training; None is inference.
            last_only: False: counts predict after every id.
            places: where in `train` the targets stand, [B, T] int64: in training, what was counted in the fold of a
                target is left out of its prediction. None counts everything.
        """
        assert not last_only, "counts predict after every id"
        values, new_state = self.outputs(ids, state, dropout=dropout)
        logits = self.head(values, dropout=dropout)
        return logits + self._counted(ids, state[-1], values, places=places), new_state

    def outputs(
        self,
        ids: tf.Tensor,
        state: Sequence[tf.Tensor],
        *,
        dropout: DropoutKey | None = None,
        last_only: bool = False,
    ) -> tuple[tf.Tensor, State]:
        """Returns the last layer's output after each id, [B, T, H], and the state after the last."""
        values, new_state = super().outputs(ids, state[:-1], dropout=dropout, last_only=last_only)
        return values, [*new_state, self._last_ids(ids, state[-1])]

    def step(self, ids: tf.Tensor, state: Sequence[tf.Tensor]) -> tuple[tf.Tensor, State]:
        """Returns the logits after one more id of every row, [B, V], and the new state; ids are [B] int32."""
        values, new_state = self.read(ids, state)
        return self.head(values) + self._counted(ids[:, None], state[-1], values[:, None])[:, 0], new_state

    def read(self, ids: tf.Tensor, state: Sequence[tf.Tensor]) -> tuple[tf.Tensor, State]:
        """Returns the last layer's output after one more id of every row, [B, H], and the new state; ids are [B]."""
        values, new_state = super().read(ids, state[:-1])
        return values, [*new_state, self._last_ids(ids[:, None], state[-1])]

    def variables_by_name(self) -> dict[str, Any]:
        """Returns the trainable variables as `layer/name`, in a fixed order, the gates' last."""
        return super().variables_by_name() | by_name([self.gate])

    def layer_groups(self) -> list[list[str]]:
        """Returns the names of the variables in groups from the input to the output; the gates learn with the last."""
        *below, above = super().layer_groups()
        return [*below, [*above, *by_name([self.gate])]]

    def _counted(
        self, ids: tf.Tensor, before: tf.Tensor, values: tf.Tensor, *, places: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns what is added to the logits after ids [B, T], which follow [B, L] others: [B, T, V]."""
        found = self._lookup(ids, before, places=places)
        features = tf.concat([tf.cast(values, tf.float32), tf.stop_gradient(found.features)], axis=-1)
        weights = self._at_start + GATE_SCALE * self.gate(features)  # [B, T, G]
        return tf.reduce_sum(weights[..., None] * tf.stop_gradient(found.log_probabilities), axis=2)

    def _last_ids(self, ids: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        """Returns the last L ids after ids [B, T] were read: [B, L] float32."""
        return tf.concat([before, tf.cast(ids, tf.float32)], axis=1)[:, -self._lookup.reach :]


def language_model(spec: ModelSpec, *, counts: CountTable | None, **arguments: Any) -> LanguageModel:
    """Returns a language model, with counts or without; it takes what `LanguageModel` does."""
    assert (counts is not None) == (spec.counts_order is not None), "the spec says whether a model reads counts"
    if counts is None:
        return LanguageModel(spec, **arguments)
    return CountedModel(spec, counts=counts, **arguments)
