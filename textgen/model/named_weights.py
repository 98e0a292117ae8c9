"""The interface of all models for training and checkpoints: their weights by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from textgen.errors import UserError


class NamedWeights:
    """Reads and writes the weights of a model as arrays by layer and name."""

    def variables_by_name(self) -> dict[str, Any]:
        """Returns the trainable variables as `layer/name`, in a fixed order."""
        raise NotImplementedError

    def get_weights_by_name(self) -> dict[str, np.ndarray[Any, Any]]:
        """Returns the weights as arrays, by layer and name."""
        return {name: variable.numpy() for name, variable in self.variables_by_name().items()}

    def set_weights_by_name(self, weights: dict[str, np.ndarray[Any, Any]]) -> None:
        """Sets all weights.

        Raises:
            UserError: a name or a shape differs from this model's.
        """
        variables = self.variables_by_name()
        if weights.keys() != variables.keys():
            odd = sorted(weights.keys() ^ variables.keys())
            raise UserError(f"the weights do not fit the model: only one side has {', '.join(odd)}")
        for name, variable in variables.items():
            if weights[name].shape != tuple(variable.shape):
                raise UserError(
                    f"the weights do not fit the model: {name} is {weights[name].shape}, not {tuple(variable.shape)}"
                )
            variable.assign(weights[name])


def by_name(layers: list[Any]) -> dict[str, Any]:
    """Returns the trainable variables of layers (None stands for an absent layer) as `layer/name`."""
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in layers
        if layer is not None
        for variable in layer.trainable_variables
    }
