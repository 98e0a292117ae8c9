"""One step of data-parallel training: sums of gradients over all workers, then the same update on each.

Letters: R rows of this worker, T time, P parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from textgen.model.language_model import DropoutKey, LanguageModel, State
from textgen.spec import TrainingSpec
from textgen.training.collective import Collective
from textgen.windows.batches import Batch

NUM_FIGURES = 3
"""Numbers that travel behind the gradients: nats, characters, wishes for a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one step's sum over all workers says."""

    nats: float
    characters: float
    checkpoint_wanted: bool


class TrainingStep:
    """Holds model, optimizer and the LSTM state of this worker's lanes, and makes steps."""

    def __init__(
        self, model: LanguageModel, spec: TrainingSpec, collective: Collective, *, first_row: int, num_rows: int
    ) -> None:
        self.model = model
        self.optimizer = make_optimizer(spec)
        self.state: State = model.initial_state(num_rows)
        self._spec = spec
        self._collective = collective
        self._first_row = first_row
        self._variables = list(model.variables_by_name().values())
        self._sizes = [int(np.prod(variable.shape)) for variable in self._variables]
        self.optimizer.build(self._variables)
        self._compiled = tf.function(self._step)

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
        )
        nats, characters, wishes = figures.numpy().tolist()
        return Figures(nats=nats, characters=characters, checkpoint_wanted=wishes > 0)

    def optimizer_arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Returns the optimizer's variables, numbered in their fixed order."""
        return {f"optimizer/{i}": variable.numpy() for i, variable in enumerate(self.optimizer.variables)}

    def load_optimizer_arrays(self, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
        """Sets the optimizer's variables from `optimizer_arrays`' result."""
        for index, variable in enumerate(self.optimizer.variables):
            variable.assign(arrays[f"optimizer/{index}"])

    def _step(
        self,
        inputs: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor,
        state: Sequence[tf.Tensor],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
        wish: tf.Tensor,
    ) -> tuple[tf.Tensor, State]:
        if self._spec.order == "shuffled":
            state = [tf.zeros_like(part) for part in state]
        key = DropoutKey(seed=self._spec.seed, step=step, first_row=self._first_row)
        with tf.GradientTape() as tape:
            logits, new_state = self.model(inputs, state, dropout=key)
            nats = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)  # [R, T]
            nats = tf.reduce_sum(nats * weights)
        gradients = tape.gradient(nats, [variable.value for variable in self._variables])
        flat = tf.concat(
            [tf.reshape(tf.convert_to_tensor(gradient), [-1]) for gradient in gradients]
            + [tf.stack([nats, tf.reduce_sum(weights), wish])],
            axis=0,
        )  # [P + NUM_FIGURES]
        flat = self._collective.sum(flat)
        figures = flat[-NUM_FIGURES:]
        self._apply(flat[:-NUM_FIGURES] / figures[1], learning_rate)
        return figures, new_state

    def _apply(self, gradient: tf.Tensor, learning_rate: tf.Tensor) -> None:
        """Applies the mean gradient, shape [P], which is the same on every worker."""
        if self._spec.clip_norm is not None:
            norm = tf.norm(gradient)
            gradient *= tf.minimum(1.0, self._spec.clip_norm / tf.maximum(norm, 1e-12))
        parts = [
            tf.reshape(part, variable.shape)
            for part, variable in zip(tf.split(gradient, self._sizes), self._variables, strict=True)
        ]
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(parts, self._variables)


def make_optimizer(spec: TrainingSpec) -> Any:
    """Returns the Keras optimizer of a spec; the step sets its learning rate."""
    if spec.optimizer == "adam":
        return keras.optimizers.Adam(spec.learning_rate)
    if spec.optimizer == "adamw":
        return keras.optimizers.AdamW(spec.learning_rate, weight_decay=spec.weight_decay)
    if spec.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(spec.learning_rate)
    return keras.optimizers.SGD(spec.learning_rate)
