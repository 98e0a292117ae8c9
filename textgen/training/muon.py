"""Muon: momentum whose matrices are made nearly orthogonal before they change the weights.

An update of a hidden layer's kernel is dominated by a few directions; with all its singular values brought to about 1,
the rare ones count as much (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/). The kernels of a recurrent
layer hold one block per gate, and each block is orthogonalised on its own: the gates are separate matrices that stand
side by side.

The update is a function of the summed gradient, which all workers have, so they need no other message.

Letters: I inputs, H units, N gates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from textgen.model.counted_model import GATE_NAME
from textgen.runs.plan import MUON_ITERATIONS

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration; they bring singular values near 1 fast, to within about 0.7 and 1.2, and not closer."""


class Muon:
    """Updates matrices by orthogonalised Nesterov momentum."""

    def __init__(
        self,
        variables: Sequence[Any],
        *,
        num_blocks: Sequence[int],
        weight_decay: float = 0.0,
        dtype: tf.DType = tf.float32,
    ) -> None:
        """Begins with a momentum of zeros.

        Args:
            variables: matrices [I, N * H].
            num_blocks: N of each, the blocks that stand side by side in it.
            weight_decay: decoupled, as a share of the learning rate.
            dtype: of the products that orthogonalise an update; bfloat16 is precise enough.
        """
        self.variables = [tf.Variable(tf.zeros(variable.shape), trainable=False) for variable in variables]
        """The momentum of each matrix: what resuming needs."""
        self._num_blocks = tuple(num_blocks)
        self._weight_decay = weight_decay
        self._dtype = dtype

    def apply(self, gradients: Sequence[tf.Tensor], variables: Sequence[Any], *, learning_rate: tf.Tensor) -> None:
        """Changes the variables by one update."""
        for gradient, variable, momentum, num_blocks in zip(
            gradients, variables, self.variables, self._num_blocks, strict=True
        ):
            momentum.assign(MOMENTUM * momentum + gradient)
            update = by_blocks(gradient + MOMENTUM * momentum, num_blocks=num_blocks, dtype=self._dtype)
            if self._weight_decay:
                update += self._weight_decay * variable
            variable.assign_sub(learning_rate * update)


def by_blocks(matrix: tf.Tensor, *, num_blocks: int, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Returns a matrix [I, N * H] whose N blocks [I, H] are orthogonal each, scaled up where they are wide."""
    inputs, width = matrix.shape[0], matrix.shape[1] // num_blocks
    blocks = tf.stack(tf.split(matrix, num_blocks, axis=1))  # [N, I, H]
    update = tf.concat(tf.unstack(orthogonalised(blocks, dtype=dtype)), axis=1)
    return update * math.sqrt(max(1.0, width / inputs))


def orthogonalised(matrices: tf.Tensor, *, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Returns matrices [..., I, H] with their singular vectors, and singular values of about 1, in 32 bits."""
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    values = tf.linalg.matrix_transpose(matrices) if is_tall else matrices
    values = tf.cast(values / (tf.norm(values, axis=(-2, -1), keepdims=True) + 1e-7), dtype)
    a, b, c = COEFFICIENTS
    for _ in range(MUON_ITERATIONS):
        square = tf.matmul(values, values, transpose_b=True)
        values = a * values + tf.matmul(b * square + c * tf.matmul(square, square), values)
    values = tf.cast(values, tf.float32)
    return tf.linalg.matrix_transpose(values) if is_tall else values


def hidden_matrices(model: Any) -> dict[str, int]:
    """Returns the variables of a model that Muon suits, by name, and how many blocks stand side by side in each.

    They are the kernels between hidden layers. Those with a row or a column for each id are left out: ids are rare or
    frequent, and Adam adapts its step sizes to that. So are the gates of a count model, which weight probabilities and
    have no directions to balance.
    """
    variables: Mapping[str, Any] = model.variables_by_name()
    left_out = {*model.vocabulary_axes(), f"{GATE_NAME}/kernel"}
    widths = {
        name.partition("/")[0]: variable.shape[0]
        for name, variable in variables.items()
        if name.endswith("/recurrent_kernel")
    }
    return {
        name: variable.shape[1] // widths.get(name.partition("/")[0], variable.shape[1])
        for name, variable in variables.items()
        if name.endswith("kernel") and name not in left_out and len(variable.shape) == 2 and variable.shape[1] > 1
    }
