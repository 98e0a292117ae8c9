"""Contexts as numbers: how ids are packed, hashed and dealt out to folds.

A context of k ids is one integer of 8 bits per id, the nearest id in the highest bits, so that a shorter context is a
prefix of a longer one. The same functions serve NumPy arrays and TensorFlow tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

BITS_PER_ID = 8
MAX_VOCAB_SIZE = 2**BITS_PER_ID
MAX_ORDER = 7
"""Seven ids and the one that follows them fill 64 bits."""
FIRST_HASHED_ORDER = 3
"""Shorter contexts stand in dense arrays."""
NUM_FOLDS = 8
LARGEST_BLOCK_IDS = 2**14
BLOCKS_PER_FOLD = 8
FIRST_WORD_LEVEL = MAX_ORDER + 1
"""Number that stands for contexts of words (`counts.words`) where others have their length; with one word more before
the current one, the next."""
_LOW_32_BITS = 2**32 - 1
_MULTIPLIERS = (-7046029254386353131, -4417276706812531889)
"""Odd numbers of 64 bits, as signed integers (0x9E3779B97F4A7C15 and 0xC2B2AE3D27D4EB4F)."""


def levels_of(*, order: int, num_words: int) -> tuple[int, ...]:
    """Returns the contexts that are hashed, from the shortest on: numbers of ids, then numbers that stand for words."""
    return (
        *range(FIRST_HASHED_ORDER, order + 1),
        *range(FIRST_WORD_LEVEL, FIRST_WORD_LEVEL + num_words),
    )


def block_ids_of(num_ids: int) -> int:
    """Returns how many ids in a row belong to the same fold: 2**14, fewer where the text is short."""
    return max(1, min(LARGEST_BLOCK_IDS, num_ids // (NUM_FOLDS * BLOCKS_PER_FOLD)))


def fold_of(places: Any, *, block_ids: int) -> Any:
    """Returns the fold of the ids at these places of the split: blocks are dealt out in turn."""
    return places // block_ids % NUM_FOLDS


def id_keys(text: Any, *, order: int) -> Any:
    """Returns the `order` ids before each id of a text [order + N] from the `order`-th on, shifted left by the bits of
    an id: [N] uint64."""
    keys = np.zeros(len(text) - order, np.uint64)
    for back in range(1, order + 1):
        shift = np.uint64(BITS_PER_ID * (order - back + 1))
        keys |= text[order - back : len(text) - back].astype(np.uint64) << shift
    return keys


def hashed(contexts: Any, order: Any, *, shift_right: Callable[[Any, int], Any] = np.right_shift) -> Any:
    """Returns 64 well-mixed bits of contexts of `order` ids, or of words, the same from NumPy and from TensorFlow.

    Args:
        contexts: int64, whose products wrap around.
        order: k, of one context or of each.
        shift_right: `numpy.right_shift` or `tf.bitwise.right_shift`.
    """
    mixed = (contexts + order) * _MULTIPLIERS[0]
    mixed = mixed ^ (shift_right(mixed, 32) & _LOW_32_BITS)
    mixed = (mixed + order) * _MULTIPLIERS[1]
    return mixed ^ (shift_right(mixed, 29) & (2**35 - 1))


def fingerprint_of(mixed: Any) -> Any:
    """Returns the 32 bits of a hash that tell the contexts of a bucket apart, in [0, 2**32)."""
    return mixed & _LOW_32_BITS


def bucket_of(mixed: Any, *, num_buckets: int, shift_right: Callable[[Any, int], Any] = np.right_shift) -> Any:
    """Returns the bucket of a hash; `num_buckets` is a power of 2."""
    return shift_right(mixed, 32) & (num_buckets - 1)
