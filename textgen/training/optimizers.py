"""What turns a gradient into new weights: an optimizer of its own for each group of layers, or one for all.

Letters: G groups of layers from the input to the output, P parameters that learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from textgen.runs.schedule import learns_by_groups, num_frozen, rate_shares
from textgen.spec import TrainingSpec
from textgen.training.muon import Muon, hidden_matrices


class GroupOptimizer:
    """Updates the weights of one group of layers: by a Keras optimizer, and hidden kernels by Muon if it is chosen."""

    def __init__(self, names: Sequence[str], model: Any, spec: TrainingSpec) -> None:
        by_name = model.variables_by_name()
        matrices = hidden_matrices(model) if spec.optimizer == "muon" else {}
        self.variables = [by_name[name] for name in names]
        """The weights, in a fixed order."""
        self._is_matrix = [name in matrices for name in names]
        self._keras = make_optimizer(spec)
        self._keras.build(self._chosen(self.variables, by_muon=False))
        self._muon = Muon(
            self._chosen(self.variables, by_muon=True),
            num_blocks=[matrices[name] for name in names if name in matrices],
            weight_decay=spec.weight_decay if spec.optimizer == "muon" else 0.0,
            dtype=tf.bfloat16 if spec.mixed_precision else tf.float32,
        )
        self._muon_share = spec.muon_learning_rate / spec.learning_rate

    @property
    def state(self) -> list[Any]:
        """The variables of the optimizers themselves, in a fixed order: what resuming needs."""
        return [*self._keras.variables, *self._muon.variables]

    @property
    def num_updates(self) -> int:
        """How often the group has been updated."""
        return int(self._keras.iterations.numpy())

    def apply(self, gradients: Sequence[tf.Tensor], *, learning_rate: tf.Tensor) -> None:
        """Applies a gradient for each of the variables; `learning_rate` is that of all but Muon's matrices."""
        self._keras.learning_rate.assign(learning_rate)
        self._keras.apply(self._chosen(gradients, by_muon=False), self._chosen(self.variables, by_muon=False))
        self._muon.apply(
            self._chosen(gradients, by_muon=True),
            self._chosen(self.variables, by_muon=True),
            learning_rate=learning_rate * self._muon_share,
        )

    def _chosen(self, values: Sequence[Any], *, by_muon: bool) -> list[Any]:
        return [value for value, is_matrix in zip(values, self._is_matrix, strict=True) if is_matrix == by_muon]


class Optimizers:
    """Updates a model's weights; groups of layers differ in rate, or in when they learn, only where the spec says so.

    A group that does not learn yet has an optimizer that is not applied: neither its weights nor its moments move, and
    its count of updates begins when it does.
    """

    def __init__(self, model: Any, spec: TrainingSpec) -> None:
        groups = model.layer_groups() if learns_by_groups(spec) else [list(model.variables_by_name())]
        self._spec = spec
        self._groups = [GroupOptimizer(names, model, spec) for names in groups]
        self._shares = rate_shares(spec, num_groups=len(groups))

    @property
    def variables(self) -> list[Any]:
        """The optimizers' own variables, in a fixed order: what resuming needs."""
        return [variable for group in self._groups for variable in group.state]

    @property
    def num_updates(self) -> list[int]:
        """How often each group has been updated, [G]."""
        return [group.num_updates for group in self._groups]

    def num_frozen(self, step: int) -> int:
        """Returns how many groups, counted from the input, do not learn at a step."""
        return num_frozen(step, self._spec, num_groups=len(self._groups))

    def learning(self, *, num_frozen: int) -> list[Any]:
        """Returns the model's variables that learn, group by group."""
        return [variable for group in self._groups[num_frozen:] for variable in group.variables]

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
        for group, share in zip(self._groups[num_frozen:], self._shares[num_frozen:], strict=True):
            own, parts = parts[: len(group.variables)], parts[len(group.variables) :]
            group.apply(own, learning_rate=learning_rate * share)


def make_optimizer(spec: TrainingSpec) -> Any:
    """Returns the Keras optimizer of a spec, without its learning rate, which every update sets."""
    if spec.optimizer == "adamw":
        return keras.optimizers.AdamW(weight_decay=spec.weight_decay)
    kinds = {"rmsprop": keras.optimizers.RMSprop, "sgd": keras.optimizers.SGD}
    return kinds.get(spec.optimizer, keras.optimizers.Adam)()  # With Muon, Adam updates all but hidden kernels.
