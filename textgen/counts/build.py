"""Counts a text and prunes what was counted to a `CountTable`.

The longest contexts are counted, fold by fold, by sorting 64-bit keys (a context and the id that follows it); the
counts of every shorter context are sums of these.

Letters: K order, E distinct keys, F folds, C contexts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.counts.contexts import (
    BITS_PER_ID,
    FIRST_HASHED_ORDER,
    NUM_FOLDS,
    block_ids_of,
    bucket_of,
    fingerprint_of,
    fold_of,
    hashed,
)
from textgen.counts.table import BUCKET_SIZE, MAX_CHILDREN, MAX_COUNT, CountTable, FoldCounts
from textgen.errors import UserError
from textgen.progress import Say

Array = npt.NDArray[Any]
Read = Callable[[int, int], Array]
"""Returns the ids at [start, stop) of the text."""
CHUNK_IDS = 2**24
"""Ids that are counted at once: about 400 MB of keys and their sorting."""
CONTEXTS_PER_BUCKET = 1.5
"""At most, on average; then some 1.5 percent of the contexts, the rarest ones, find their bucket full."""


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
        first = _firsts(keys)
        sums = [np.add.reduceat(counts[order], first, dtype=np.int64) for counts in self.counts]
        return Counted(keys=keys[first], counts=_narrow(np.stack(sums)))


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
        first = _firsts(contexts)
        totals = counted.counts.sum(axis=0, dtype=np.int64)
        return cls(
            order=order,
            contexts=contexts[first].astype(np.int64),
            first=first,
            counts=np.add.reduceat(totals, first),
        )


def build_table(
    read: Read, num_ids: int, *, order: int, vocab_size: int, start_id: int, max_bytes: int, say: Say
) -> CountTable:
    """Counts a text and returns the table, with its folds.

    Args:
        read: reads the text.
        num_ids: ids of the text.
        order: K.
        vocab_size: V.
        start_id: what the first id is read after.
        max_bytes: size of the table; contexts of 4 ids or more that occur once are dropped anyway.
        say: receives lines of progress.
    """
    block_ids = block_ids_of(num_ids)
    counted = _counted(read, num_ids, order=order, start_id=start_id, block_ids=block_ids, say=say)
    levels = [counted]
    while len(levels) <= order - FIRST_HASHED_ORDER:
        levels.append(levels[-1].shorter())
    low = levels[-1].shorter()
    levels.reverse()  # Contexts of 3 ids first.
    contexts = [Contexts.of(level, number) for number, level in enumerate(levels, start=FIRST_HASHED_ORDER)]
    low_size = 12 * len(low.keys)
    kept = _fitting(contexts, levels, max_bytes=max_bytes - low_size)
    buckets, kept = _placed(contexts, kept)
    rows, children, folds = _laid_out(contexts, levels, kept)
    table = CountTable(
        order=order,
        vocab_size=vocab_size,
        num_ids=num_ids,
        block_ids=block_ids,
        low_keys=low.keys.astype(np.uint32),
        low_counts=low.counts.sum(axis=0, dtype=np.int64),
        buckets=buckets,
        rows=rows,
        children=children,
        folds=folds,
    )
    total = sum(len(level.contexts) for level in contexts)
    say(
        f"counted {num_ids:,} ids: kept {table.num_contexts:,} of {total:,} contexts of 3 to {order} ids, "
        f"{table.num_bytes / 2**20:.1f} MiB"
    )
    return table


def _counted(read: Read, num_ids: int, *, order: int, start_id: int, block_ids: int, say: Say) -> Counted:
    """Returns what followed the contexts of `order` ids."""
    nothing = (np.zeros(0, np.uint64), np.zeros(0, np.int64))
    by_fold = [nothing] * NUM_FOLDS
    before = np.zeros(order, np.uint8)
    before[-1] = start_id
    for start in range(0, num_ids, CHUNK_IDS):
        stop = min(start + CHUNK_IDS, num_ids)
        text = np.concatenate([before, read(start, stop).astype(np.uint8)])
        keys = text[order:].astype(np.uint64)
        for back in range(1, order + 1):
            shift = np.uint64(BITS_PER_ID * (order - back + 1))
            keys |= text[order - back : len(text) - back].astype(np.uint64) << shift
        folds = fold_of(np.arange(start, stop), block_ids=block_ids)
        for fold in range(NUM_FOLDS):
            by_fold[fold] = _summed(by_fold[fold], keys[folds == fold])
        before = text[len(text) - order :]
        say(f"counted {stop:,} of {num_ids:,} ids")
    keys = np.concatenate([keys for keys, _ in by_fold])
    counts = np.concatenate([counts for _, counts in by_fold])
    folds = np.repeat(np.arange(NUM_FOLDS), [len(keys) for keys, _ in by_fold])
    order_of_keys = np.argsort(keys)
    keys = keys[order_of_keys]
    first = _firsts(keys)
    entries = np.zeros(len(keys), np.int64)
    entries[first[1:]] = 1
    table = np.zeros((NUM_FOLDS, len(first)), np.min_scalar_type(int(counts.max(initial=0))))
    table[folds[order_of_keys], np.cumsum(entries)] = counts[order_of_keys]
    return Counted(keys=keys[first], counts=table)


def _summed(known: tuple[Array, Array], keys: Array) -> tuple[Array, Array]:
    """Returns distinct keys, ascending, and their counts: known ones and, added to them, more keys."""
    keys = np.sort(keys)
    first = _firsts(keys)
    counts = np.diff(np.append(first, len(keys)))
    keys = keys[first]
    if not len(known[0]):
        return keys, counts
    keys, counts = np.concatenate([known[0], keys]), np.concatenate([known[1], counts])
    order = np.argsort(keys)
    keys = keys[order]
    first = _firsts(keys)
    return keys[first], np.add.reduceat(counts[order], first)


def _fitting(contexts: list[Contexts], levels: list[Counted], *, max_bytes: int) -> list[Array]:
    """Returns which contexts of each length to keep: the rarest are dropped until the table fits."""
    least = 2
    num_children = [
        np.minimum(np.diff(np.append(level.first, len(counted.keys))), MAX_CHILDREN[level.order])
        for level, counted in zip(contexts, levels, strict=True)
    ]
    while True:
        kept = [level.counts >= (least if level.order > FIRST_HASHED_ORDER else least - 1) for level in contexts]
        num_rows = sum(int(one.sum()) for one in kept)
        total = sum(int(sizes[one].sum()) for sizes, one in zip(num_children, kept, strict=True))
        size = 4 * total + 12 * num_rows + 8 * BUCKET_SIZE * _num_buckets(num_rows)
        if size <= max_bytes or not num_rows:
            return kept
        least += max(1, least // 4)


def _num_buckets(num_rows: int) -> int:
    return 1 << max(0, int(np.ceil(np.log2(max(1.0, num_rows / CONTEXTS_PER_BUCKET)))))


def _placed(contexts: list[Contexts], kept: list[Array]) -> tuple[Array, list[Array]]:
    """Returns the buckets, and which contexts stand in them: where one is full, the most frequent ones do.

    Rows are numbered from 1 in the order of the contexts that stand.
    """
    mixed = np.concatenate([hashed(one.contexts[keep], one.order) for one, keep in zip(contexts, kept, strict=True)])
    counts = np.concatenate([one.counts[keep] for one, keep in zip(contexts, kept, strict=True)])
    num_buckets = _num_buckets(len(mixed))
    bucket, fingerprint = bucket_of(mixed, num_buckets=num_buckets), fingerprint_of(mixed)
    order = np.lexsort((-counts, bucket))
    by_bucket = bucket[order]
    first = np.searchsorted(by_bucket, by_bucket)
    place = np.arange(len(order)) - first
    stands = np.zeros(len(order), np.bool_)
    stands[order] = place < BUCKET_SIZE
    row = np.cumsum(stands)
    buckets = np.zeros((num_buckets, 2 * BUCKET_SIZE), np.int32)
    order, by_bucket, place = (part[place < BUCKET_SIZE] for part in (order, by_bucket, place))
    order, by_bucket, place = order[::-1], by_bucket[::-1], place[::-1]
    buckets[by_bucket, place] = fingerprint[order].astype(np.uint32).view(np.int32)
    buckets[by_bucket, BUCKET_SIZE + place] = row[order]
    split_at = np.cumsum([int(keep.sum()) for keep in kept])[:-1]
    result = []
    for keep, stand in zip(kept, np.split(stands, split_at), strict=True):
        one = keep.copy()
        one[keep] = stand
        result.append(one)
    return buckets, result


def _laid_out(contexts: list[Contexts], levels: list[Counted], kept: list[Array]) -> tuple[Array, Array, FoldCounts]:
    """Returns rows and children of the contexts that are kept, and what of them was counted in each fold."""
    rows, children, fold_rows, fold_children = (
        [np.zeros((1, 3), np.int64)],
        [],
        [np.zeros((NUM_FOLDS, 1), np.int64)],
        [],
    )
    start = 0
    for level, counted, keep in zip(contexts, levels, kept, strict=True):
        sizes = np.diff(np.append(level.first, len(counted.keys)))
        number = np.repeat(np.arange(len(sizes)), sizes)
        chosen = np.flatnonzero(keep[number])
        totals = counted.counts[:, chosen].sum(axis=0, dtype=np.int64)
        if totals.max(initial=0) > MAX_COUNT:
            raise UserError(
                f"a context is followed by the same id {totals.max():,} times and model.counts_order counts up to "
                f"{MAX_COUNT:,}; train on fewer documents"
            )
        order = np.lexsort((-totals, number[chosen]))
        chosen, totals = chosen[order], totals[order]
        sizes = sizes[keep]
        rank = np.arange(len(chosen)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        is_kept = rank < MAX_CHILDREN[level.order]
        chosen, totals = chosen[is_kept], totals[is_kept]
        lengths = np.minimum(sizes, MAX_CHILDREN[level.order])
        starts = start + np.cumsum(lengths) - lengths
        start += len(chosen)
        rows.append(np.stack([starts, lengths, level.counts[keep]], axis=1))
        children.append(totals << BITS_PER_ID | (counted.keys[chosen] & np.uint64(255)).astype(np.int64))
        if len(level.first):
            sums = np.add.reduceat(counted.counts, level.first, axis=1, dtype=np.int64)
            fold_rows.append(sums[:, keep])
        fold_children.append(counted.counts[:, chosen])
    padding = max(MAX_CHILDREN.values())
    return (
        np.concatenate(rows).astype(np.int32),
        np.pad(np.concatenate(children), (0, padding)).astype(np.int32),
        FoldCounts(
            children=_narrow(np.pad(np.concatenate(fold_children, axis=1), ((0, 0), (0, padding)))).ravel(),
            rows=_narrow(np.concatenate(fold_rows, axis=1)).ravel(),
        ),
    )


def _firsts(ascending: Array) -> Array:
    """Returns where each distinct value of an ascending array stands first."""
    if not len(ascending):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))


def _narrow(counts: Array) -> Array:
    """Returns counts in the narrowest type that holds all of them."""
    dtype = np.min_scalar_type(int(counts.max(initial=0)))
    return counts.astype(np.int32 if dtype.itemsize > 2 else dtype)
