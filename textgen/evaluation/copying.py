"""Measures copying: finds the longest passage of a text that occurs verbatim in `train`.

The passages of all texts form a tree with one id per level, and each position of `train` descends it as far as its ids
match. A level is built when a position first reaches it, so memory grows with the texts and their longest copied
passage, not with `train`.

Letters: `N` ids of all texts, `M` ids of a chunk of `train`, `V` vocabulary.
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
"""Ids of `train` per chunk; limits temporary arrays to about 50 MB."""
TABLE_LEVELS = 12
"""The levels that most positions of `train` reach use a table, if it has at most MAX_TABLE_ENTRIES of 4 bytes."""
MAX_TABLE_ENTRIES = 2**22


@dataclass(frozen=True, kw_only=True)
class CopiedRun:
    """The longest passage of a text that occurs in the training text; the first one in a tie."""

    start: int
    """Index of its first id in the text."""
    num_ids: int
    """0 if no id of the text occurs in the training text."""


def longest_runs(texts: Sequence[Ids], train: Iterable[Ids], *, vocab_size: int) -> list[CopiedRun]:
    """Returns the longest copied passage of each text; `train` consists of consecutive chunks of any size."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    ids = np.concatenate([np.zeros(0, np.int64), *texts]).astype(np.int64)  # [N]
    stops = np.repeat(np.cumsum(lengths), lengths)  # [N]: end of the text of each id
    levels = [_Level.first(ids, stops=stops, vocab_size=vocab_size)]
    tail = np.zeros(0, np.int64)
    for piece in train:
        read = np.concatenate([tail, piece.astype(np.int64)])  # [M]
        _descend(read, levels)
        # A passage that continues in the next chunk starts here.
        tail = read[max(len(read) - int(lengths.max(initial=1)) + 1, 0) :]
    firsts = np.cumsum(lengths) - lengths
    starts, copied = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    text_of = np.repeat(np.arange(len(texts)), lengths)  # [N]
    for length, level in enumerate(levels, start=1):
        places = level.places[level.seen[level.nodes]][
            ::-1
        ]  # In reverse order, so that a text's first passage is set last.
        starts[text_of[places]] = places - firsts[text_of[places]]
        copied[text_of[places]] = length
    return [
        CopiedRun(start=start, num_ids=num_ids) for start, num_ids in zip(starts.tolist(), copied.tolist(), strict=True)
    ]


def training_ids(manifest: Manifest) -> Iterator[Ids]:
    """Yields the ids of `train` in chunks."""
    with IdReader(manifest, "train") as reader:
        for start in range(0, reader.num_ids, READ_IDS):
            yield reader.read(start, start + READ_IDS)


@dataclass(frozen=True, kw_only=True)
class _Level:
    """The distinct passages of one length, numbered by their sorted keys: (number of the prefix) * V + last id."""

    ids: Numbers
    """The ids of all texts, shape [N]."""
    stops: Numbers
    """End of the text of each id, shape [N]."""
    vocab_size: int
    length: int
    places: Numbers
    """Positions in `ids` at which a passage of this length begins."""
    nodes: Numbers
    """Number of the passage at each position, same shape."""
    keys: Numbers
    """Ascending."""
    table: npt.NDArray[np.int32] | None
    """Passage number by key, -1 for missing keys; None if the table would be too large."""
    seen: npt.NDArray[np.bool_]
    """Whether each passage occurs in the training text read so far."""

    @classmethod
    def first(cls, ids: Numbers, *, stops: Numbers, vocab_size: int) -> _Level:
        """Returns the level of single ids."""
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
        """Returns the level of passages that are one id longer."""
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
        """Returns the numbers of keys, -1 for missing ones; same shape."""
        return numbers_of(keys, sorted_keys=self.keys, table=self.table)


def _descend(read: Numbers, levels: list[_Level]) -> None:
    """Descends the levels from each position of `read` [M] as far as its ids match, and marks the passages as seen."""
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
        if len(places) and places[-1] == len(
            read
        ):  # Positions are ascending, so only the last one can have reached the end.
            nodes, places = nodes[:-1], places[:-1]
        length += 1
