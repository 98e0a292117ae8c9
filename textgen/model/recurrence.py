"""An LSTM layer over a whole window, for training on CPUs: the same function as Keras's layer, in less time.

What does not depend on the state before is one matrix product over all positions: the inputs' share of the gates
going forward, the gradient of the recurrent kernel going back. Only the product with the last output is left inside
the loop, which is laid out in the graph position by position, so that no loop construct is paid for each.

Letters: B batch rows, T time, H units. The gates stand in Keras's order: input, forget, candidate, output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

MAX_LENGTH = 256
"""Longest window that is laid out in the graph; building the graph of a longer one takes too long."""

Gradient = Callable[..., tuple[tf.Tensor, ...]]


def lstm(projected: tf.Tensor, cell: Any, h: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the outputs at every position, [B, T, H], and the state after the last one, h and c.

    Args:
        projected: inputs times the cell's kernel, plus its bias, [B, T, 4H]; T is static.
        cell: Keras's LSTMCell, whose recurrent kernel [H, 4H] is applied.
        h: output before the first position, [B, H].
        c: cell state before it, [B, H].
    """
    outputs, h, c = _lstm(projected, tf.convert_to_tensor(cell.recurrent_kernel), h, c)
    return outputs, h, c


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _lstm(
    projected: tf.Tensor, kernel: tf.Tensor, first_h: tf.Tensor, first_c: tf.Tensor
) -> tuple[tuple[tf.Tensor, tf.Tensor, tf.Tensor], Gradient]:
    units = kernel.shape[0]
    h, c = first_h, first_c
    outputs, cells, gates = [], [], []
    for position in tf.unstack(projected, axis=1):
        z = position + tf.matmul(h, kernel)
        opened = tf.sigmoid(z[:, : 2 * units])
        i, f = opened[:, :units], opened[:, units:]
        g = tf.tanh(z[:, 2 * units : 3 * units])
        o = tf.sigmoid(z[:, 3 * units :])
        c = f * c + i * g
        squashed = tf.tanh(c)
        h = o * squashed
        outputs.append(h)
        cells.append(c)
        gates.append((i, f, g, o, squashed))
    stacked = tf.stack(outputs, axis=1)

    def gradient(d_outputs: tf.Tensor, d_h: tf.Tensor, d_c: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Goes back through time; `d_h` and `d_c` belong to the state after the last position."""
        cells_before = [first_c, *cells[:-1]]
        d_gates = []
        transposed = tf.transpose(kernel)
        for d_output, c_before, (i, f, g, o, squashed) in zip(
            reversed(tf.unstack(d_outputs, axis=1)), reversed(cells_before), reversed(gates), strict=True
        ):
            d_h = d_h + d_output
            d_c = d_c + d_h * o * (1 - squashed * squashed)
            d_z = tf.concat(
                [
                    d_c * g * i * (1 - i),
                    d_c * c_before * f * (1 - f),
                    d_c * i * (1 - g * g),
                    d_h * squashed * o * (1 - o),
                ],
                axis=1,
            )
            d_gates.append(d_z)
            d_h = tf.matmul(d_z, transposed)
            d_c = d_c * f
        d_projected = tf.stack(d_gates[::-1], axis=1)
        h_before = tf.concat([first_h[:, None], stacked[:, :-1]], axis=1)
        d_kernel = tf.matmul(
            tf.reshape(h_before, [-1, units]), tf.reshape(d_projected, [-1, 4 * units]), transpose_a=True
        )
        return d_projected, d_kernel, d_h, d_c

    return (stacked, h, c), gradient
