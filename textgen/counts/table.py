"""A count model of characters as arrays: what followed each context, for look-up in bulk.

Contexts of up to two ids stand in a dense array of probabilities. Longer ones, up to K ids, and contexts of words stand
in a hash table whose buckets hold 4 contexts each, by a 32-bit fingerprint; a context's row says where its children,
the ids that followed it, begin. Only the most frequent children of a context are kept, in falling order.

The model is interpolated absolute discounting:

    p_k(x) = max(c(x) - D(c(x)), 0) / n + lambda_k p_(k-1)(x),  lambda_k = what the discounts take / n

A context of words counts as longer than those of K ids, and one with more words as longer still.

What belongs to children that are not kept is shared out by p_(k-1) among the ids that are no kept children, so that the
probabilities sum to 1 whatever was pruned. Given to all ids, it would go to the frequent ones, which have their share.

Letters: V vocabulary, K order, R rows (contexts), E children, F folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.counts.contexts import BITS_PER_ID, levels_of

Array = npt.NDArray[Any]
DISCOUNTS = (0.9, 1.3, 1.6)
"""Taken from a count of 1, of 2, and of 3 or more."""
MAX_CHILDREN = {3: 16, 4: 8, 5: 8, 6: 4, 7: 4, 8: 4, 9: 4}
"""Children that are kept of a context, by its length (8 and 9: contexts of words)."""
BUCKET_SIZE = 4
MAX_COUNT = 2 ** (31 - BITS_PER_ID) - 1
"""A child is one number of 32 bits: its count above its id."""


@dataclass(frozen=True, kw_only=True)
class FoldCounts:
    """What was counted in each fold of `train`, for training alone: it is taken off the counts of all folds."""

    children: Array
    """Counts, [F * padded E], fold by fold, in the order of the table's children."""
    rows: Array
    """How often each row's context occurs, [F * (R + 1)]."""


@dataclass(frozen=True, kw_only=True)
class CountTable:
    """A pruned count model."""

    order: int
    """K."""
    vocab_size: int
    num_ids: int
    """Ids of `train` that were counted."""
    block_ids: int
    """Ids in a row that belong to the same fold."""
    low_keys: Array
    """What followed two ids: both, the nearest one first, and the follower, 8 bits each, uint32."""
    low_counts: Array
    """How often, int64."""
    buckets: Array
    """[buckets, 2 * BUCKET_SIZE] int32: fingerprints, then rows; row 0 stands for none."""
    rows: Array
    """[R + 1, 3] int32: first child, number of children, occurrences of the context."""
    children: Array
    """[padded E] int32: count * 256 + id."""
    num_words: int = 0
    """Words before the current one in the longest contexts of words; 0 if the table has none."""
    word_flags: Array
    """Which ids belong to words, [V] uint8; all 0 without contexts of words."""
    folds: FoldCounts | None = None

    @property
    def num_contexts(self) -> int:
        """R."""
        return len(self.rows) - 1

    @property
    def num_bytes(self) -> int:
        """Size of the arrays that inference needs."""
        parts = (self.low_keys, self.low_counts, self.buckets, self.rows, self.children, self.word_flags)
        return sum(part.nbytes for part in parts)

    @property
    def levels(self) -> tuple[int, ...]:
        """The contexts in the hash table, from the shortest on: numbers of ids, then numbers that stand for words."""
        return levels_of(order=self.order, num_words=self.num_words)

    def low_probabilities(self) -> npt.NDArray[np.float32]:
        """Returns the probability of every id after every two ids, [V * V, V], the nearest id's number first."""
        size = self.vocab_size
        parts = [(self.low_keys >> shift & 255).astype(np.int64) for shift in (16, 8, 0)]
        counts = np.zeros((size, size, size))
        np.add.at(counts, tuple(parts), self.low_counts)
        none = discounted(counts.sum(axis=(0, 1)), np.full(size, 1 / size))
        one = discounted(counts.sum(axis=1), none)
        return discounted(counts, one[:, None]).reshape(size * size, size).astype(np.float32)


def discount_of(counts: Array) -> Array:
    """Returns what is taken from each count; nothing from a count of 0."""
    taken: Array = np.select([counts <= 0, counts == 1, counts == 2], [0.0, *DISCOUNTS[:2]], DISCOUNTS[2])
    return taken


def discounted(counts: Array, shorter: Array) -> Array:
    """Returns probabilities [..., V] from counts [..., V] and the probabilities after shorter contexts."""
    totals = np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    kept = np.maximum(counts - discount_of(counts), 0) / totals
    mixed: Array = kept + (1 - kept.sum(axis=-1, keepdims=True)) * shorter
    return mixed
