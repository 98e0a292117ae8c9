"""Dropout masks that depend on a row's place in the global batch, not on the worker that computes it.

Letters: B batch rows, T time, H units.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True, kw_only=True)
class DropoutKey:
    """Determines the dropout masks: a row of the global batch gets the same mask on every worker."""

    seed: int
    step: tf.Tensor
    """Training step, int64 scalar."""
    first_row: int
    """Index in the global batch of the first row of this batch."""


def dropped(values: tf.Tensor, rate: float, key: DropoutKey | None, *, layer: int) -> tf.Tensor:
    """Returns values [B, T, H] with the mask of a layer applied; without a key, returns them unchanged."""
    if key is None or rate == 0:
        return values
    return values * tf.cast(dropout_mask(tf.shape(values), rate=rate, key=key, layer=layer), values.dtype)


def dropout_mask(shape: tf.Tensor, *, rate: float, key: DropoutKey, layer: int) -> tf.Tensor:
    """Returns a mask of 0 and 1 / (1 - rate), [B, T, H], that depends only on seed, step, layer and global row.

    A counter-based generator (Philox) turns each counter into four numbers, so the first counter of a row depends only
    on the row's place in the global batch.
    """
    row_size = shape[1] * shape[2]
    counters_per_row = (row_size + 3) // 4
    first = tf.cast(key.first_row * counters_per_row, tf.uint64)
    purpose = tf.cast(key.step, tf.uint64) * tf.constant(64, tf.uint64) + tf.constant(layer, tf.uint64)
    uniform = tf.raw_ops.StatelessRandomUniformV2(
        shape=tf.stack([shape[0], 4 * counters_per_row]),
        key=tf.constant([key.seed], tf.uint64),
        counter=tf.stack([first, purpose]),
        alg=tf.random.Algorithm.PHILOX.value,
    )
    kept = tf.cast(uniform[:, :row_size] >= rate, tf.float32) / (1 - rate)
    return tf.reshape(kept, shape)
