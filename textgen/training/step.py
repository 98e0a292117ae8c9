"""One step of data-parallel training: sums of gradients over all workers, then the same update on each.

Letters: R rows of this worker, T time, P parameters that learn.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from textgen.model.classifier import Classifier
from textgen.model.language_model import DropoutKey, LanguageModel, State, dropout_mask
from textgen.spec import TrainingSpec
from textgen.training.collective import Collective
from textgen.training.optimizers import Optimizers
from textgen.windows.batches import Batch

FRESH_LANES = 63
"""Number of the random stream that draws lanes: no layer's."""
NUM_FIGURES = 3
"""Numbers that travel behind the gradients: nats, characters (a classifier's documents), wishes for a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one step's sum over all workers says."""

    nats: float
    characters: float
    checkpoint_wanted: bool


class TrainingStep:
    """Holds model, optimizer and the recurrent state of this worker's lanes, and makes steps."""

    def __init__(
        self,
        model: LanguageModel | Classifier,
        spec: TrainingSpec,
        collective: Collective,
        *,
        first_row: int,
        num_rows: int,
    ) -> None:
        self.model = model
        self.optimizers = Optimizers(model, spec)
        self.state: State = model.initial_state(num_rows)
        self._spec = spec
        self._collective = collective
        self._first_row = first_row
        self._last_only = spec.loss_at == "last"
        forward: Any = model  # Without types, as all of Keras's.
        self._forward = functools.partial(forward, last_only=True) if self._last_only else forward
        self._compiled = tf.function(self._step)  # Traced anew where another group of layers begins to learn.

    def reset_state(self) -> None:
        """Puts the state of every lane back to the beginning of a text."""
        self.state = [tf.zeros_like(part) for part in self.state]

    def __call__(self, batch: Batch, *, learning_rate: float, want_checkpoint: bool = False) -> Figures:
        """Updates the weights by one global batch, of which `batch` holds this worker's rows."""
        figures, self.state = self._compiled(
            batch.inputs,
            batch.targets,
            batch.weights,
            self.state,
            tf.constant(batch.step, tf.int64),
            tf.constant(learning_rate, tf.float32),
            tf.constant(float(want_checkpoint)),
            num_frozen=self.optimizers.num_frozen(batch.step),
        )
        nats, characters, wishes = figures.numpy().tolist()
        return Figures(nats=nats, characters=characters, checkpoint_wanted=wishes > 0)

    def optimizer_arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Returns the optimizers' variables, numbered in their fixed order."""
        return {f"optimizer/{i}": variable.numpy() for i, variable in enumerate(self.optimizers.variables)}

    def load_optimizer_arrays(self, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
        """Sets the optimizers' variables from `optimizer_arrays`' result."""
        for index, variable in enumerate(self.optimizers.variables):
            variable.assign(arrays[f"optimizer/{index}"])

    def _begun_anew(self, state: Sequence[tf.Tensor], key: DropoutKey) -> State:
        """Returns the state that a step begins with: zeros for windows that stand alone, and for the lanes drawn.

        What a lane was told stays: the text goes on.
        """
        if not state or self._spec.order == "shuffled":
            return [tf.zeros_like(part) for part in state]
        shape = tf.stack([tf.shape(state[0])[0], 1, 1])
        goes_on = dropout_mask(shape, rate=self._spec.fresh_share, key=key, layer=FRESH_LANES)[:, 0] > 0  # [R, 1]
        units = self.model.unit_states(state)
        return [tf.where(goes_on, part, 0.0) for part in units] + list(state[len(units) :])

    def _step(
        self,
        inputs: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor,
        state: Sequence[tf.Tensor],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
        wish: tf.Tensor,
        *,
        num_frozen: int,
    ) -> tuple[tf.Tensor, State]:
        if self._last_only:
            targets, weights = targets[:, -1:], weights[:, -1:]
        key = DropoutKey(seed=self._spec.seed, step=step, first_row=self._first_row)
        state = self._begun_anew(state, key)
        with tf.GradientTape() as tape:
            logits, new_state = self._forward(inputs, state, dropout=key)
            nats = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)  # [R, T]
            nats = tf.reduce_sum(nats * weights)
        learning = self.optimizers.learning(num_frozen=num_frozen)
        gradients = tape.gradient(nats, [variable.value for variable in learning])
        flat = tf.concat(
            [tf.reshape(tf.convert_to_tensor(gradient), [-1]) for gradient in gradients]
            + [tf.stack([nats, tf.reduce_sum(weights), wish])],
            axis=0,
        )  # [P + NUM_FIGURES]
        flat = self._collective.sum(flat)
        figures = flat[-NUM_FIGURES:]
        self.optimizers.apply(flat[:-NUM_FIGURES] / figures[1], learning_rate, num_frozen=num_frozen)
        return figures, new_state
