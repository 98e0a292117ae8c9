"""What turns a gradient into new weights: one Keras optimizer, or one for each group of layers.

Letters: G groups of layers from the input to the output, P parameters that learn.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from textgen.runs.schedule import learns_by_groups, num_frozen, rate_shares
from textgen.spec import TrainingSpec


class Optimizers:
    """Updates a model's weights; groups of layers differ in rate, or in when they learn, only where the spec says so.

    A group that does not learn yet has an optimizer that is not applied: neither its weights nor its moments move, and
    its count of updates begins when it does.
    """

    def __init__(self, model: Any, spec: TrainingSpec) -> None:
        by_name = model.variables_by_name()
        groups = model.layer_groups() if learns_by_groups(spec) else [list(by_name)]
        self._spec = spec
        self._groups = [[by_name[name] for name in names] for names in groups]
        self._optimizers = [make_optimizer(spec) for _ in groups]
        self._shares = rate_shares(spec, num_groups=len(groups))
        for optimizer, variables in zip(self._optimizers, self._groups, strict=True):
            optimizer.build(variables)

    @property
    def variables(self) -> list[Any]:
        """The optimizers' own variables, in a fixed order: what resuming needs."""
        return [variable for optimizer in self._optimizers for variable in optimizer.variables]

    @property
    def num_updates(self) -> list[int]:
        """How often each group has been updated, [G]."""
        return [int(optimizer.iterations.numpy()) for optimizer in self._optimizers]

    def num_frozen(self, step: int) -> int:
        """Returns how many groups, counted from the input, do not learn at a step."""
        return num_frozen(step, self._spec, num_groups=len(self._groups))

    def learning(self, *, num_frozen: int) -> list[Any]:
        """Returns the model's variables that learn, group by group."""
        return [variable for group in self._groups[num_frozen:] for variable in group]

    def apply(self, gradient: tf.Tensor, learning_rate: tf.Tensor, *, num_frozen: int) -> None:
        """Applies the mean gradient of what learns, shape [P], which is the same on every worker."""
        if self._spec.clip_norm is not None:
            norm = tf.norm(gradient)
            gradient *= tf.minimum(1.0, self._spec.clip_norm / tf.maximum(norm, 1e-12))
        variables = self.learning(num_frozen=num_frozen)
        sizes = [int(np.prod(variable.shape)) for variable in variables]
        parts = [
            tf.reshape(part, variable.shape)
            for part, variable in zip(tf.split(gradient, sizes), variables, strict=True)
        ]
        for group in range(num_frozen, len(self._groups)):
            own, parts = parts[: len(self._groups[group])], parts[len(self._groups[group]) :]
            optimizer = self._optimizers[group]
            optimizer.learning_rate.assign(learning_rate * self._shares[group])
            optimizer.apply(own, self._groups[group])


def make_optimizer(spec: TrainingSpec) -> Any:
    """Returns the Keras optimizer of a spec, without its learning rate, which every update sets."""
    if spec.optimizer == "adamw":
        return keras.optimizers.AdamW(weight_decay=spec.weight_decay)
    return {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop, "sgd": keras.optimizers.SGD}[
        spec.optimizer
    ]()
