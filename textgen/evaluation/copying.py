"""How much of a text was copied: the longest run of it that stands in `train`, exact to the character.

Every place of `train` descends a tree of the runs of all texts, one id a level, as far as it leads. A level is made
when a place first reaches it, so that memory grows with the texts and their longest copied run, not with `train`.

Letters: `N` ids of all texts, `M` ids of a piece of `train`, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textgen.evaluation.sorted_lookup import numbers_of
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader
from textgen.windows.vocabulary import Ids

Numbers = npt.NDArray[np.int64]

READ_IDS = 2**20
"""Ids of `train` that are read at once; bounds the temporary arrays at about 50 MB."""
TABLE_LEVELS = 12
"""Levels that most places of `train` reach are looked up in a table, if it has at most MAX_TABLE_ENTRIES of 4 bytes."""
MAX_TABLE_ENTRIES = 2**22


@dataclass(frozen=True, kw_only=True)
class CopiedRun:
    """The longest run of a text that stands in the training text; of several the first."""

    start: int
    """Id of the text with which it begins."""
    num_ids: int
    """0 where not even one id of the text stands there."""


def longest_runs(texts: Sequence[Ids], train: Iterable[Ids], *, vocab_size: int) -> list[CopiedRun]:
    """Returns the longest copied run of each text; `train` comes in consecutive pieces of any size."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    ids = np.concatenate([np.zeros(0, np.int64), *texts]).astype(np.int64)  # [N]
    stops = np.repeat(np.cumsum(lengths), lengths)  # [N]: where the text of each id ends
    levels = [_Level.first(ids, stops=stops, vocab_size=vocab_size)]
    tail = np.zeros(0, np.int64)
    for piece in train:
        read = np.concatenate([tail, piece.astype(np.int64)])  # [M]
        _descend(read, levels)
        # A run that goes on in the next piece begins among these.
        tail = read[max(len(read) - int(lengths.max(initial=1)) + 1, 0) :]
    firsts = np.cumsum(lengths) - lengths
    starts, copied = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    text_of = np.repeat(np.arange(len(texts)), lengths)  # [N]
    for length, level in enumerate(levels, start=1):
        places = level.places[level.seen[level.nodes]][::-1]  # Backwards: the first of a text is set last.
        starts[text_of[places]] = places - firsts[text_of[places]]
        copied[text_of[places]] = length
    return [
        CopiedRun(start=start, num_ids=num_ids) for start, num_ids in zip(starts.tolist(), copied.tolist(), strict=True)
    ]


def training_ids(manifest: Manifest) -> Iterator[Ids]:
    """Yields the ids of `train` in pieces."""
    reader = IdReader(manifest, "train")
    try:
        for start in range(0, reader.num_ids, READ_IDS):
            yield reader.read(start, start + READ_IDS)
    finally:
        reader.close()


@dataclass(frozen=True, kw_only=True)
class _Level:
    """The distinct runs of one length, numbered in the order of their keys: (number of the shorter run) * V + id."""

    ids: Numbers
    """All texts, shape [N]."""
    stops: Numbers
    """Where the text of each id ends, shape [N]."""
    vocab_size: int
    length: int
    places: Numbers
    """Where in the texts a run of this length begins."""
    nodes: Numbers
    """Number of the run at each place, same shape."""
    keys: Numbers
    """Ascending."""
    table: npt.NDArray[np.int32] | None
    """Number by key, -1 where there is none; None where the table would be too large."""
    seen: npt.NDArray[np.bool_]
    """Which runs stand in the training text read so far."""

    @classmethod
    def first(cls, ids: Numbers, *, stops: Numbers, vocab_size: int) -> _Level:
        """Numbers the single ids."""
        return cls._of(ids, stops, vocab_size, length=1, places=np.arange(len(ids)), keys=ids, num_parents=1)

    @classmethod
    def _of(
        cls,
        ids: Numbers,
        stops: Numbers,
        vocab_size: int,
        *,
        length: int,
        places: Numbers,
        keys: Numbers,
        num_parents: int,
    ) -> _Level:
        distinct, nodes = np.unique(keys, return_inverse=True)
        table = None
        if length <= TABLE_LEVELS and num_parents * vocab_size <= MAX_TABLE_ENTRIES:
            table = np.full(num_parents * vocab_size, -1, dtype=np.int32)
            table[distinct] = np.arange(len(distinct))
        return cls(
            ids=ids,
            stops=stops,
            vocab_size=vocab_size,
            length=length,
            places=places,
            nodes=nodes.astype(np.int64),
            keys=distinct,
            table=table,
            seen=np.zeros(len(distinct), dtype=np.bool_),
        )

    def longer(self) -> _Level:
        """Numbers the runs one id longer."""
        inside = self.places + self.length < self.stops[self.places]
        places = self.places[inside]
        keys = self.nodes[inside] * self.vocab_size + self.ids[places + self.length]
        return self._of(
            self.ids,
            self.stops,
            self.vocab_size,
            length=self.length + 1,
            places=places,
            keys=keys,
            num_parents=len(self.keys),
        )

    def find(self, keys: Numbers) -> Numbers:
        """Returns the numbers of keys, -1 for those that are not there; same shape."""
        return numbers_of(keys, sorted_keys=self.keys, table=self.table)


def _descend(read: Numbers, levels: list[_Level]) -> None:
    """Leads every place of `read` [M] down the levels as far as its ids go, and marks the runs that it passes."""
    places, nodes = np.arange(len(read)), np.zeros(len(read), dtype=np.int64)
    length = 0
    while len(places):
        if length == len(levels):
            levels.append(levels[-1].longer())
        level = levels[length]
        found = level.find(nodes * level.vocab_size + read[places])
        inside = found >= 0
        nodes, places = found[inside], places[inside] + 1
        level.seen[nodes] = True
        if len(places) and places[-1] == len(read):  # Ascending: one place at most has reached the end.
            nodes, places = nodes[:-1], places[:-1]
        length += 1
