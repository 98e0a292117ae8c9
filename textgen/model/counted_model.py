"""A language model that also reads a count model of its training text.

The log-probabilities of the counts are added to the logits, weighted by a learnt gate:

    logits += (1 + s * (w . [h, matched order, log n, log distinct] + b)) * log p

The gate starts at w = 0, b = 0. From the outputs h of the last recurrent layer and from how often the context was
counted, it learns where the recurrent layers are better than the counts, and where the counts are overconfident.

Letters: B rows, T time, H units, K order, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from textgen.counts.table import CountTable
from textgen.model.count_lookup import NUM_FEATURES, CountLookup
from textgen.model.dropout import DropoutKey
from textgen.model.language_model import LanguageModel, State
from textgen.model.named_weights import by_name
from textgen.spec import ModelSpec

GATE_SCALE = 0.1
"""s. Adam moves all weights by steps of one size. The gate sums hundreds of features and multiplies log-probabilities
of about -10, so without the scale a single step would change the logits too much."""


class CountedModel(LanguageModel):
    """A language model whose state ends with the last K ids, [B, K], the oldest first, 0 for none."""

    def __init__(self, spec: ModelSpec, *, counts: CountTable, **arguments: Any) -> None:
        """Builds the layers as `LanguageModel` does, and a gate that starts by adding the counts in full."""
        super().__init__(spec, **arguments)
        self.gate = keras.layers.Dense(1, kernel_initializer="zeros", name="counts")
        self.gate.build((None, None, spec.widths[-1] + NUM_FEATURES))
        self._lookup = CountLookup(counts)

    def initial_state(self, batch_size: int) -> State:
        """Returns the state before the first id: zeros."""
        return [*super().initial_state(batch_size), tf.zeros((batch_size, self._lookup.order))]

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
        """Returns the trainable variables as `layer/name`, in a fixed order, the gate's last."""
        return super().variables_by_name() | by_name([self.gate])

    def layer_groups(self) -> list[list[str]]:
        """Returns the names of the variables in groups from the input to the output; the gate learns with the last."""
        *below, above = super().layer_groups()
        return [*below, [*above, *by_name([self.gate])]]

    def _counted(
        self, ids: tf.Tensor, before: tf.Tensor, values: tf.Tensor, *, places: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns what is added to the logits after ids [B, T], which follow [B, K] others: [B, T, V]."""
        found = self._lookup(ids, before, places=places)
        features = tf.concat([tf.cast(values, tf.float32), tf.stop_gradient(found.features)], axis=-1)
        return (1 + GATE_SCALE * self.gate(features)) * tf.stop_gradient(found.log_probabilities)

    def _last_ids(self, ids: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        """Returns the last K ids after ids [B, T] were read: [B, K] float32."""
        return tf.concat([before, tf.cast(ids, tf.float32)], axis=1)[:, -self._lookup.order :]


def language_model(spec: ModelSpec, *, counts: CountTable | None, **arguments: Any) -> LanguageModel:
    """Returns a language model, with counts or without; it takes what `LanguageModel` does."""
    assert (counts is not None) == (spec.counts_order is not None), "the spec says whether a model reads counts"
    if counts is None:
        return LanguageModel(spec, **arguments)
    return CountedModel(spec, counts=counts, **arguments)
