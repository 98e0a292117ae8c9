"""Counts what followed the contexts of a text.

The contexts of one length are counted, fold by fold, by sorting 64-bit keys (a context and the id that follows it); the
counts of every shorter context are sums of these.

Letters: E distinct keys, F folds, C contexts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.counts.contexts import BITS_PER_ID, NUM_FOLDS, fold_of
from textgen.progress import Say

Array = npt.NDArray[Any]
Read = Callable[[int, int], Array]
"""Returns the ids at [start, stop) of the text."""
CHUNK_IDS = 2**24
"""Ids that are counted at once: about 400 MB of keys and their sorting."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What followed the contexts of one length."""

    keys: Array
    """Contexts and followers, ascending, [E] uint64."""
    counts: Array
    """In each fold, [F, E]."""

    def shorter(self) -> Counted:
        """Returns what followed the contexts of one id fewer."""
        keys = (self.keys >> np.uint64(2 * BITS_PER_ID) << np.uint64(BITS_PER_ID)) | (self.keys & np.uint64(255))
        order = np.argsort(keys)
        keys = keys[order]
        first = firsts(keys)
        sums = [narrow(np.add.reduceat(counts[order], first, dtype=np.int64)) for counts in self.counts]
        return Counted(keys=keys[first], counts=narrow(np.stack(sums)))


@dataclass(frozen=True, kw_only=True)
class Contexts:
    """The contexts of one length, and where their children stand in `Counted`."""

    order: int
    contexts: Array
    """[C] int64."""
    first: Array
    """[C] each one's first key."""
    counts: Array
    """[C] how often each occurs."""

    @classmethod
    def of(cls, counted: Counted, order: int) -> Contexts:
        """Returns the contexts of what was counted."""
        contexts = counted.keys >> np.uint64(BITS_PER_ID)
        first = firsts(contexts)
        totals = counted.counts.sum(axis=0, dtype=np.int64)
        return cls(
            order=order,
            contexts=contexts[first].astype(np.int64),
            first=first,
            counts=np.add.reduceat(totals, first),
        )


def count_contexts(
    read: Read, num_ids: int, keys_of: Callable[[Array], Array], *, reach: int, start_id: int, block_ids: int, say: Say
) -> Counted:
    """Returns what followed contexts.

    Args:
        read: reads the text.
        num_ids: ids of the text.
        keys_of: returns the context before each id, shifted left by the bits of an id, from `reach` ids and those.
        reach: ids that a context looks back at.
        start_id: what the first id is read after.
        block_ids: see `fold_of`.
        say: receives a line of progress for each chunk.
    """
    nothing = (np.zeros(0, np.uint64), np.zeros(0, np.int64))
    by_fold = [nothing] * NUM_FOLDS
    before = np.zeros(reach, np.uint8)
    before[-1] = start_id
    for start in range(0, num_ids, CHUNK_IDS):
        stop = min(start + CHUNK_IDS, num_ids)
        text = np.concatenate([before, read(start, stop).astype(np.uint8)])
        keys = keys_of(text) | text[reach:].astype(np.uint64)
        folds = fold_of(np.arange(start, stop), block_ids=block_ids)
        for fold in range(NUM_FOLDS):
            by_fold[fold] = _summed(by_fold[fold], keys[folds == fold])
        before = text[len(text) - reach :]
        say(f"counted {stop:,} of {num_ids:,} ids")
    keys = np.concatenate([keys for keys, _ in by_fold])
    counts = np.concatenate([counts for _, counts in by_fold])
    folds = np.repeat(np.arange(NUM_FOLDS), [len(keys) for keys, _ in by_fold])
    order_of_keys = np.argsort(keys)
    keys = keys[order_of_keys]
    first = firsts(keys)
    entries = np.zeros(len(keys), np.int64)
    entries[first[1:]] = 1
    table = np.zeros((NUM_FOLDS, len(first)), np.min_scalar_type(int(counts.max(initial=0))))
    table[folds[order_of_keys], np.cumsum(entries)] = counts[order_of_keys]
    return Counted(keys=keys[first], counts=table)


def _summed(known: tuple[Array, Array], keys: Array) -> tuple[Array, Array]:
    """Returns distinct keys, ascending, and their counts: known ones and, added to them, more keys."""
    keys = np.sort(keys)
    first = firsts(keys)
    counts = np.diff(np.append(first, len(keys)))
    keys = keys[first]
    if not len(known[0]):
        return keys, counts
    keys, counts = np.concatenate([known[0], keys]), np.concatenate([known[1], counts])
    order = np.argsort(keys)
    keys = keys[order]
    first = firsts(keys)
    return keys[first], np.add.reduceat(counts[order], first)


def firsts(ascending: Array) -> Array:
    """Returns where each distinct value of an ascending array stands first."""
    if not len(ascending):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))


def narrow(counts: Array) -> Array:
    """Returns counts in the narrowest type that holds all of them."""
    dtype = np.min_scalar_type(int(counts.max(initial=0)))
    return counts.astype(np.int32 if dtype.itemsize > 2 else dtype)
