"""Holds the conditions of a document: the controls before a document apply to each of its ids until they change.

A condition that is read only once before a long text must survive in the recurrent state, and small models lose it
within a sentence. A held condition is an additional input at every id.

Letters: B batch rows, T time, C conditions.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def held_conditions(ids: tf.Tensor, before: tf.Tensor, controls: Sequence[range]) -> tf.Tensor:
    """Returns the latest control of each condition at each id, including the id itself, [B, T, C] int32.

    Args:
        ids: [B, T]; T is static.
        before: the controls held before the first id, [B, C]; 0 for none.
        controls: the control ids of each condition; 0 is never one.
    """
    ids = tf.cast(ids, tf.int64)[..., None]
    is_conditioned = (ids >= [ids_.start for ids_ in controls]) & (ids < [ids_.stop for ids_ in controls])
    # The latest control is the maximum of (position, id), encoded as one number.
    base = max(ids_.stop for ids_ in controls)
    positions = tf.range(1, ids.shape[1] + 1, dtype=tf.int64)[:, None]
    held = tf.concat([tf.cast(before, tf.int64)[:, None], tf.where(is_conditioned, positions * base + ids, 0)], axis=1)
    reach = 1
    while reach < held.shape[1]:  # Each round doubles how far back the maximum reaches.
        held = tf.maximum(held, tf.pad(held[:, :-reach], [[0, 0], [reach, 0], [0, 0]]))
        reach *= 2
    return tf.cast(held[:, 1:] % base, tf.int32)
