"""What a document was told, at every id of it: the controls that stand before a document, held until they change.

Told once before a long text, a condition must survive in the recurrent state, where small models lose it within a
sentence. Held, it is read beside every id.

Letters: B batch rows, T time, C conditions.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def held_conditions(ids: tf.Tensor, before: tf.Tensor, controls: Sequence[range]) -> tf.Tensor:
    """Returns the control of each condition that was told last, up to and with each id, [B, T, C] int32.

    Args:
        ids: [B, T]; T is static.
        before: what was told before the first of them, [B, C]; 0 where nothing was.
        controls: the ids of each condition's controls, none of which is 0.
    """
    ids = tf.cast(ids, tf.int64)[..., None]
    is_conditioned = (ids >= [ids_.start for ids_ in controls]) & (ids < [ids_.stop for ids_ in controls])
    # The last one told is the largest of (position, id), written as one number.
    base = max(ids_.stop for ids_ in controls)
    positions = tf.range(1, ids.shape[1] + 1, dtype=tf.int64)[:, None]
    told = tf.concat([tf.cast(before, tf.int64)[:, None], tf.where(is_conditioned, positions * base + ids, 0)], axis=1)
    reach = 1
    while reach < told.shape[1]:  # Each round doubles how far back the maximum looks.
        told = tf.maximum(told, tf.pad(told[:, :-reach], [[0, 0], [reach, 0], [0, 0]]))
        reach *= 2
    return tf.cast(told[:, 1:] % base, tf.int32)
