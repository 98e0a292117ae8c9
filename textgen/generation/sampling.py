"""Draws one id per slot from logits, a uniform number and the slot's settings.

Everything is a tensor operation over all slots, so it runs inside the compiled loop. Each row of the result depends
only on the same row of the arguments.

Letters: S slots, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def sample(logits: Any, *, uniform: Any, temperature: Any, top_k: Any, top_p: Any) -> Any:
    """Returns the drawn ids, [S] int32.

    Evaluates the inverse cumulative distribution, over ids in ascending order, at `uniform`. Ids with a logit of minus
    infinity are never drawn.

    Args:
        logits: [S, V] float32.
        uniform: [S] float32 in [0, 1).
        temperature: [S] float32; 0 takes the likeliest id, and the first one among ties.
        top_k: [S] int32; keeps this many of the likeliest ids, the first ones among ties; V disables the filter.
        top_p: [S] float32; of these, keeps the fewest likeliest ids whose probabilities add up to this share; 1
            disables the filter.
    """
    greedy = tf.argmax(logits, axis=1, output_type=tf.int32)
    # Subtracted before the division, so that no temperature overflows.
    centred = logits - tf.reduce_max(logits, axis=1, keepdims=True)
    weights = tf.exp(centred / tf.where(temperature > 0, temperature, 1.0)[:, None])
    # The filters cost more than everything else and are rarely used. Both branches return a mask, so the ids drawn for
    # unfiltered slots do not depend on the branch taken.
    filtered = tf.reduce_any(top_k < tf.shape(logits)[1]) | tf.reduce_any(top_p < 1)
    kept = tf.cond(filtered, lambda: _likeliest(weights, top_k, top_p), lambda: tf.ones_like(weights, dtype=tf.bool))
    weights = tf.where(kept, weights, 0.0)
    cumulative = tf.cumsum(weights, axis=1)
    candidates = (cumulative > uniform[:, None] * cumulative[:, -1:]) & (weights > 0)
    # Rounding may leave no candidate for a uniform number close to 1.
    drawn = tf.where(tf.reduce_any(candidates, axis=1), tf.argmax(candidates, axis=1), tf.argmax(weights, axis=1))
    return tf.where(temperature > 0, tf.cast(drawn, tf.int32), greedy)


def _likeliest(weights: Any, top_k: Any, top_p: Any) -> Any:
    """Returns the ids that pass both filters, [S, V] bool; at least one per row."""
    ranks = tf.range(tf.shape(weights)[1])[None, :]
    descending = -tf.sort(-weights, axis=1)
    in_top_k = tf.where(ranks < top_k[:, None], descending, 0.0)
    cumulative = tf.cumsum(in_top_k, axis=1)
    before = cumulative - in_top_k
    needed = tf.reduce_sum(tf.cast(before < top_p[:, None] * cumulative[:, -1:], tf.int32), axis=1)
    num_kept = tf.where(top_p < 1, tf.clip_by_value(needed, 1, top_k), top_k)
    least = tf.gather(descending, num_kept - 1, axis=1, batch_dims=1)[:, None]
    above = weights > least
    equal = weights == least
    room = num_kept[:, None] - tf.reduce_sum(tf.cast(above, tf.int32), axis=1, keepdims=True)
    return above | (equal & (tf.cumsum(tf.cast(equal, tf.int32), axis=1) <= room))
