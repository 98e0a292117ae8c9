"""Counts a text and prunes what was counted to a `CountTable`.

Letters: K order, V vocabulary, E distinct keys, F folds, C contexts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
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
    hashed,
    id_keys,
    levels_of,
)
from textgen.counts.counting import Contexts, Counted, Read, count_contexts, narrow
from textgen.counts.table import BUCKET_SIZE, MAX_CHILDREN, MAX_COUNT, CountTable, FoldCounts
from textgen.counts.words import REACH as WORD_REACH
from textgen.counts.words import word_keys
from textgen.errors import UserError
from textgen.progress import Say

Array = npt.NDArray[Any]
CONTEXTS_PER_BUCKET = 1.5
"""At most, on average; then some 1.5 percent of the contexts, the rarest ones, find their bucket full."""


def build_table(
    read: Read,
    num_ids: int,
    *,
    order: int,
    num_words: int,
    word_flags: Array,
    start_id: int,
    max_bytes: int,
    say: Say,
) -> CountTable:
    """Counts a text and returns the table, with its folds.

    Args:
        read: reads the text.
        num_ids: ids of the text.
        order: K.
        num_words: words before the current one in contexts of words; 0 counts none.
        word_flags: which of the V ids belong to words, [V] uint8.
        start_id: what the first id is read after.
        max_bytes: size of the table; contexts of 4 ids or more that occur once are dropped anyway.
        say: receives lines of progress.
    """
    block_ids = block_ids_of(num_ids)
    count = functools.partial(count_contexts, read, num_ids, start_id=start_id, block_ids=block_ids, say=say)
    low, *levels = _counted(count, order=order, num_words=num_words, word_flags=word_flags, say=say)
    numbers = levels_of(order=order, num_words=num_words)
    contexts = [Contexts.of(level, number) for number, level in zip(numbers, levels, strict=True)]
    low_size = 12 * len(low.keys)
    kept = _fitting(contexts, levels, max_bytes=max_bytes - low_size)
    buckets, kept = _placed(contexts, kept)
    rows, children, folds = _laid_out(contexts, levels, kept)
    total = sum(len(level.contexts) for level in contexts)
    say(f"kept {len(rows) - 1:,} of {total:,} contexts of 3 ids and more")
    return CountTable(
        order=order,
        vocab_size=len(word_flags),
        num_ids=num_ids,
        block_ids=block_ids,
        low_keys=low.keys.astype(np.uint32),
        low_counts=low.counts.sum(axis=0, dtype=np.int64),
        buckets=buckets,
        rows=rows,
        children=children,
        num_words=num_words,
        word_flags=word_flags if num_words else np.zeros_like(word_flags),
        folds=folds,
    )


def _counted(
    count: Callable[..., Counted], *, order: int, num_words: int, word_flags: Array, say: Say
) -> list[Counted]:
    """Returns what followed two ids, 3 ids and so on up to `order`, then what followed words; `count` counts a text."""
    say(f"counting contexts of up to {order} ids")
    levels = [count(functools.partial(id_keys, order=order), reach=order)]
    while len(levels) < order - 1:
        levels.append(levels[-1].shorter())
    levels.reverse()
    for words in range(1, num_words + 1):
        say(f"counting contexts of {words + 1} words")
        levels.append(count(functools.partial(word_keys, flags=word_flags, num_words=words), reach=WORD_REACH))
    return levels


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
            folds = [np.add.reduceat(fold, level.first, dtype=np.int64)[keep] for fold in counted.counts]
            fold_rows.append(narrow(np.stack(folds)))
        fold_children.append(counted.counts[:, chosen])
    padding = max(MAX_CHILDREN.values())
    return (
        np.concatenate(rows).astype(np.int32),
        np.pad(np.concatenate(children), (0, padding)).astype(np.int32),
        FoldCounts(
            children=narrow(np.pad(np.concatenate(fold_children, axis=1), ((0, 0), (0, padding)))).ravel(),
            rows=narrow(np.concatenate(fold_rows, axis=1)).ravel(),
        ),
    )
