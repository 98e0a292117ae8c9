"""A count model of text with interpolated Witten-Bell smoothing: the baseline for every language model.

The model counts which ids follow each context in the training ids. To keep memory independent of the corpus, it
receives the text to score first and only counts contexts that occur there. Contexts form a tree: the parent of a
context of k ids is the context of its last k - 1 ids. A training position is counted once, at its longest context in
the tree; the counts of shorter contexts are summed up the tree at the end.

Legend of shapes: `N` scored ids, `M` training ids of a chunk, `P` distinct (context, next id) pairs, `V` vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textgen.evaluation.sorted_lookup import Keys, numbers_of

Probabilities = npt.NDArray[np.float64]

MAX_TABLE_ENTRIES = 2**23
"""The children of a level use a lookup table if it has at most this many entries (of 4 bytes)."""
PIECE_IDS = 2**21
"""Training ids per chunk; limits temporary arrays to about 100 MB."""


class CountModel:
    """Counts for one text to be scored, for all context lengths up to `order`.

    Both texts are read as if preceded by `order` times the id `start_id`.
    """

    def __init__(self, scored: npt.ArrayLike, *, order: int, vocab_size: int, start_id: int) -> None:
        """Prepares the contexts of `scored` (ids, shape [N]) for counting."""
        self.order = order
        self.vocab_size = vocab_size
        self._targets = np.asarray(scored).astype(np.int64)
        self._tail = np.full(order, start_id, dtype=np.int64)
        padded = np.concatenate([self._tail, self._targets])
        self._levels: list[_Level] = []
        self._nodes = [np.zeros(len(self._targets), dtype=np.int64)]  # [N] per level, the empty context first
        for length in range(1, order + 1):
            keys = self._nodes[-1] * vocab_size + padded[order - length : len(padded) - length]
            distinct, nodes = np.unique(keys, return_inverse=True)
            num_parents = self._levels[-1].num_nodes if self._levels else 1
            self._levels.append(_Level.build(distinct, num_parents=num_parents, vocab_size=vocab_size))
            self._nodes.append(nodes.astype(np.int64))
        sizes = [1, *(level.num_nodes for level in self._levels)]
        self._first_nodes = np.concatenate([[0], np.cumsum(sizes)])  # number of each level's first node in the tree
        self._pairs = _Pairs.empty()

    def count(self, ids: npt.ArrayLike) -> None:
        """Counts the next ids of the training text, shape [M]; chunks of any size give the same counts."""
        array = np.asarray(ids)
        for start in range(0, len(array), PIECE_IDS):
            self._count_piece(array[start : start + PIECE_IDS].astype(np.int64))

    def probabilities(self, *, order: int | None = None) -> Probabilities:
        """Returns the probability of each scored id given the `order` ids before it (default: the model's), shape [N].

        Interpolated Witten-Bell: a context seen n times with t distinct successors leaves t / (n + t) to the context
        that is one id shorter; the empty context leaves its share to the uniform distribution over the vocabulary.
        """
        longest = self.order if order is None else order
        return next(itertools.islice(self._probabilities_by_order(), longest, None))

    def nats(self, *, order: int | None = None) -> float:
        """Returns the summed cost of the scored ids in nats."""
        return float(-np.log(self.probabilities(order=order)).sum())

    def nats_by_order(self) -> list[float]:
        """Returns the summed cost of the scored ids for orders 0 to `order`, shape [order + 1], in one pass."""
        return [float(-np.log(probabilities).sum()) for probabilities in self._probabilities_by_order()]

    def _probabilities_by_order(self) -> Iterator[Probabilities]:
        """Yields the probabilities for contexts of 0, 1, ... `order` ids, each computed from the last, shape [N]."""
        probabilities = np.full(len(self._targets), 1 / self.vocab_size)
        for pairs, nodes in zip(self._pairs_by_length(), self._nodes, strict=True):
            num_nodes = int(nodes.max(initial=-1)) + 1
            pair_nodes = pairs.keys // self.vocab_size
            seen = np.bincount(pair_nodes, weights=pairs.counts, minlength=num_nodes)[nodes]
            distinct = np.bincount(pair_nodes, minlength=num_nodes)[nodes]
            matches = pairs.counts_of(nodes * self.vocab_size + self._targets)
            known = seen > 0
            mixed = (matches + distinct * probabilities) / np.where(known, seen + distinct, 1)
            probabilities = np.where(known, mixed, probabilities)
            yield probabilities

    def _count_piece(self, ids: Keys) -> None:
        text = np.concatenate([self._tail, ids])
        places = np.arange(self.order, len(text))  # of the next id, for positions that are still descending the tree
        level_nodes = np.zeros(len(ids), dtype=np.int64)
        longest = np.zeros(len(ids), dtype=np.int64)  # [M] tree number of the longest context found
        for length, level in enumerate(self._levels, start=1):
            found = level.find(level_nodes * self.vocab_size + text[places - length])
            inside = found >= 0
            places, level_nodes = places[inside], found[inside]
            longest[places - self.order] = level_nodes + self._first_nodes[length]
        self._pairs = self._pairs.plus(_Pairs.counted(longest * self.vocab_size + ids))
        self._tail = text[len(text) - self.order :]

    def _pairs_by_length(self) -> list[_Pairs]:
        """Returns the pairs of context lengths 0 to `order`, with nodes numbered within their level."""
        levels = []
        longer = _Pairs.empty()
        for length in range(self.order, -1, -1):
            low, high = self._first_nodes[length] * self.vocab_size, self._first_nodes[length + 1] * self.vocab_size
            own = self._pairs.between(int(low), int(high))
            pairs = own.plus(longer)
            levels.append(pairs)
            if length:
                nodes, next_ids = np.divmod(pairs.keys, self.vocab_size)
                parents = self._levels[length - 1].keys[nodes] // self.vocab_size
                longer = _Pairs.summed(parents * self.vocab_size + next_ids, pairs.counts)
        return levels[::-1]


@dataclass(frozen=True, kw_only=True)
class _Level:
    """The contexts of one length, numbered by their sorted keys: (number of the parent) * V + first id."""

    keys: Keys
    """Ascending, shape [num_nodes]."""
    table: npt.NDArray[np.int32] | None
    """Context number by key, -1 for missing keys; None if the table would be too large."""

    @classmethod
    def build(cls, keys: Keys, *, num_parents: int, vocab_size: int) -> _Level:
        """Returns the level of distinct, ascending keys."""
        table = None
        if num_parents * vocab_size <= MAX_TABLE_ENTRIES:
            table = np.full(num_parents * vocab_size, -1, dtype=np.int32)
            table[keys] = np.arange(len(keys))
        return cls(keys=keys, table=table)

    @property
    def num_nodes(self) -> int:
        return len(self.keys)

    def find(self, keys: Keys) -> Keys:
        """Returns the numbers of keys, -1 for missing ones; same shape."""
        return numbers_of(keys, sorted_keys=self.keys, table=self.table)


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Counts of ids after contexts: ascending keys (number of the context) * V + id, and counts, both [P]."""

    keys: Keys
    counts: Keys

    @classmethod
    def empty(cls) -> _Pairs:
        return cls(keys=np.zeros(0, dtype=np.int64), counts=np.zeros(0, dtype=np.int64))

    @classmethod
    def counted(cls, keys: Keys) -> _Pairs:
        """Counts equal keys in an unsorted array."""
        distinct, counts = np.unique(keys, return_counts=True)
        return cls(keys=distinct, counts=counts)

    @classmethod
    def summed(cls, keys: Keys, counts: Keys) -> _Pairs:
        """Sums the counts of equal keys in unsorted arrays."""
        distinct, places = np.unique(keys, return_inverse=True)
        sums = np.zeros(len(distinct), dtype=np.int64)
        np.add.at(sums, places, counts)
        return cls(keys=distinct, counts=sums)

    def plus(self, other: _Pairs) -> _Pairs:
        """Adds the counts of two sets of pairs."""
        places = np.searchsorted(self.keys, other.keys)
        shared = np.zeros(len(other.keys), dtype=np.bool_)
        inside = places < len(self.keys)
        shared[inside] = self.keys[places[inside]] == other.keys[inside]
        counts = self.counts.copy()
        counts[places[shared]] += other.counts[shared]
        return _Pairs(
            keys=np.insert(self.keys, places[~shared], other.keys[~shared]),
            counts=np.insert(counts, places[~shared], other.counts[~shared]),
        )

    def between(self, low: int, high: int) -> _Pairs:
        """Returns the pairs with keys in [low, high), with `low` subtracted from the keys."""
        first, last = np.searchsorted(self.keys, [low, high])
        return _Pairs(keys=self.keys[first:last] - low, counts=self.counts[first:last])

    def counts_of(self, keys: Keys) -> Keys:
        """Returns the counts of keys in any order, 0 for missing ones; same shape."""
        if not len(self.keys):
            return np.zeros(len(keys), dtype=np.int64)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, self.counts[places], 0)
