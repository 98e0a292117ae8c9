"""An LSTM layer over a whole window, for training on CPUs: the same function as Keras's layer, but faster.

Everything that does not depend on the previous state is one matrix product over all positions: the inputs' share of the
gates in the forward pass, the gradient of the recurrent kernel in the backward pass. Only the product with the previous
output remains in the loop, which is unrolled in the graph, so no position pays for a loop construct. Positions are the
first axis of every array, so that slicing out one position needs no copy.

Products can be computed in bfloat16, which is twice as fast on CPUs with instructions for it; gates, states and weights
keep 32 bits.

Letters: B batch rows, T time, H units. The gates are in the order input, forget, output, candidate, so that one sigmoid
covers the first three. Keras puts the candidate third.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

Gradient = Callable[..., tuple[tf.Tensor, ...]]


class _Position(NamedTuple):
    """Values that the backward pass needs: the three gates concatenated, [B, 3H], and the other tensors, [B, H]."""

    opened: tf.Tensor
    i: tf.Tensor
    f: tf.Tensor
    o: tf.Tensor
    candidate: tf.Tensor
    squashed: tf.Tensor
    c_before: tf.Tensor


def in_order(gates: tf.Tensor) -> tf.Tensor:
    """Returns a Keras kernel or bias, [..., 4H], with the gates in the order of this module."""
    i, f, candidate, o = tf.split(gates, 4, axis=-1)
    return tf.concat([i, f, o, candidate], axis=-1)


def product(left: tf.Tensor, right: tf.Tensor, *, dtype: tf.DType, transpose_a: bool = False) -> tf.Tensor:
    """Returns the product of two 32-bit matrices, computed in `dtype` and cast back."""
    return tf.cast(tf.matmul(tf.cast(left, dtype), tf.cast(right, dtype), transpose_a=transpose_a), tf.float32)


def lstm(
    projected: tf.Tensor, kernel: tf.Tensor, h: tf.Tensor, c: tf.Tensor, *, dtype: tf.DType = tf.float32
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the outputs at all positions, [T, B, H], and the final state, h and c.

    Args:
        projected: inputs times the kernel, plus the bias, [T, B, 4H]; T is static.
        kernel: the recurrent kernel, [H, 4H].
        h: output before the first position, [B, H].
        c: cell state before it, [B, H].
        dtype: the type in which products are computed.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def layer(
        projected: tf.Tensor, kernel: tf.Tensor, first_h: tf.Tensor, first_c: tf.Tensor
    ) -> tuple[tuple[tf.Tensor, tf.Tensor, tf.Tensor], Gradient]:
        kernel = tf.cast(kernel, dtype)  # Cast once, not at every position.
        h, c = first_h, first_c
        outputs, positions = [], []
        for inputs in tf.unstack(projected):
            h, c, position = _forward(inputs + product(h, kernel, dtype=dtype), c)
            outputs.append(h)
            positions.append(position)
        stacked = tf.stack(outputs)

        def gradient(d_outputs: tf.Tensor, d_h: tf.Tensor, d_c: tf.Tensor) -> tuple[tf.Tensor, ...]:
            """Backpropagates through time; `d_h` and `d_c` are the gradients of the final state."""
            transposed = tf.transpose(kernel)
            d_gates = []
            for d_output, position in zip(reversed(tf.unstack(d_outputs)), reversed(positions), strict=True):
                d_z, d_c = _back(d_h + d_output, d_c, position)
                d_h = product(d_z, transposed, dtype=dtype)
                d_gates.append(d_z)
            d_projected = tf.stack(d_gates[::-1])
            h_before = tf.concat([first_h[None], stacked[:-1]], axis=0)
            units = kernel.shape[0]
            rows, gates = tf.reshape(h_before, [-1, units]), tf.reshape(d_projected, [-1, 4 * units])
            return d_projected, product(rows, gates, dtype=dtype, transpose_a=True), d_h, d_c

        return (stacked, h, c), gradient

    outputs, h, c = layer(projected, kernel, h, c)
    return outputs, h, c


def _forward(z: tf.Tensor, c_before: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, _Position]:
    """Returns the state after a position, h and c, from the pre-activations of its gates, z [B, 4H]."""
    units = c_before.shape[1]
    opening, closing = tf.split(z, [3 * units, units], axis=1)
    opened, candidate = tf.sigmoid(opening), tf.tanh(closing)
    i, f, o = tf.split(opened, 3, axis=1)
    c = f * c_before + i * candidate
    squashed = tf.tanh(c)
    return o * squashed, c, _Position(opened, i, f, o, candidate, squashed, c_before)


def _back(d_h: tf.Tensor, d_c: tf.Tensor, position: _Position) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the gradients of a position's pre-activations, [B, 4H], and of the previous cell state, [B, H]."""
    opened, i, f, o, candidate, squashed, c_before = position
    d_c = d_c + tf.raw_ops.TanhGrad(y=squashed, dy=d_h * o)
    d_opened = tf.concat([d_c * candidate, d_c * c_before, d_h * squashed], axis=1)
    d_opening = tf.raw_ops.SigmoidGrad(y=opened, dy=d_opened)
    d_closing = tf.raw_ops.TanhGrad(y=candidate, dy=d_c * i)
    return tf.concat([d_opening, d_closing], axis=1), d_c * f
