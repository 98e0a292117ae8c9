"""The labelled documents of a split, one by one: what a classifier learns from and is measured on.

Letters: D documents that have a label, R rows, W words, T ids.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from textgen import storage
from textgen.errors import UserError
from textgen.windows.batches import Batch, Int32Array
from textgen.windows.lanes import MASKED, Lanes
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader
from textgen.windows.vocabulary import Ids, Vocabulary

PADDING = -1
"""Stands where a document has no more ids."""


@dataclass(frozen=True, kw_only=True)
class DocumentLabels:
    """Which documents of a split have a label, and which one."""

    places: npt.NDArray[np.int64]
    """Numbers of those documents in the split, ascending, [D]."""
    labels: Int32Array
    """Place of each one's label among the classes, [D]."""
    num_unlabelled: int
    """Documents of the split without a label."""
    num_unseen: int
    """Documents whose label no document of `train` has: there is no class for them."""

    @classmethod
    def of(cls, manifest: Manifest, split: str, *, classes: Sequence[str]) -> DocumentLabels:
        """Reads the labels of a split; memory grows by 12 bytes a document."""
        class_of = {label: place for place, label in enumerate(classes)}
        unlabelled, unseen = -1, -2
        found = np.concatenate(
            [np.zeros(0, np.int32)]
            + [
                np.array([unlabelled if label is None else class_of.get(label, unseen) for label in labels], np.int32)
                for labels in _label_columns(manifest, split)
            ]
        )
        places = np.flatnonzero(found >= 0)
        return cls(
            places=places,
            labels=found[places],
            num_unlabelled=int(np.count_nonzero(found == unlabelled)),
            num_unseen=int(np.count_nonzero(found == unseen)),
        )

    def __len__(self) -> int:
        return len(self.places)


def classes_of(manifest: Manifest) -> tuple[str, ...]:
    """Returns the distinct labels of `train`, sorted: what a classifier tells apart.

    Raises:
        UserError: there are fewer than two.
    """
    classes = sorted({label for labels in _label_columns(manifest, "train") for label in labels if label is not None})
    if len(classes) < 2:
        raise UserError(
            f"the documents of {manifest.uri} have {len(classes)} distinct labels, and a classifier tells two or more "
            "apart; ingest with --set corpus.label_column=NAME"
        )
    return tuple(classes)


class DocumentReader:
    """Random access to the documents of a split; a shard is fetched when a document of it is first read.

    Memory holds where each document of the shards read so far begins: 8 bytes a document.
    """

    def __init__(self, manifest: Manifest, split: str) -> None:
        shards = manifest.split(split).shards
        end_id = manifest.vocabulary.end_id
        if end_id is None:
            raise UserError(
                f"the documents of {manifest.uri} are joined by a text and not told apart; "
                "ingest with --set windows.separator=none"
            )
        self._end_id = end_id
        self._ids = IdReader(manifest, split)
        self._first_documents = [0, *itertools.accumulate(shard.num_documents for shard in shards)]
        self._first_ids = [0, *itertools.accumulate(shard.num_ids for shard in shards)]
        self._bounds: dict[int, npt.NDArray[np.int64]] = {}  # Shard -> where its documents begin, and the last ends.

    def ids(self, document: int) -> Ids:
        """Returns the ids of a document, END and controls left out."""
        shard = bisect.bisect_right(self._first_documents, document) - 1
        if shard not in self._bounds:
            first, stop = self._first_ids[shard], self._first_ids[shard + 1]
            ends = np.flatnonzero(self._ids.read(first, stop) == self._end_id)
            self._bounds[shard] = first + np.concatenate([[0], ends + 1])
        place = document - self._first_documents[shard]
        start, stop = self._bounds[shard][place : place + 2].tolist()
        ids = self._ids.read(start, stop - 1)
        return ids[~self._ids.vocabulary.is_control(ids)]  # One of them may tell the label.

    def close(self) -> None:
        """Closes the open files."""
        self._ids.close()


@dataclass(frozen=True, kw_only=True)
class DocumentLayout:
    """How documents stand in a batch: as bags of words, or as ids padded to one length."""

    is_bag: bool
    first_id: int
    """The id of the first word of a bag."""
    num_words: int
    max_ids: int
    """T: ids that are kept of a document."""
    part: Literal["first", "last"]

    @classmethod
    def of(
        cls, vocabulary: Vocabulary, *, is_bag: bool, max_ids: int, part: Literal["first", "last"]
    ) -> DocumentLayout:
        """Returns the layout of a vocabulary's documents."""
        return cls(
            is_bag=is_bag,
            first_id=vocabulary.num_reserved,
            num_words=len(vocabulary.symbols),
            max_ids=max_ids,
            part=part,
        )

    def inputs(self, documents: Sequence[Ids], *, length: int | None = None) -> Int32Array:
        """Returns the documents side by side: 1 where one has a word, [R, W], or their ids and PADDING, [R, T].

        `length` makes T shorter than `max_ids`, where no document is longer.
        """
        if self.is_bag:
            bags = np.zeros((len(documents), self.num_words), np.int32)
            for row, ids in enumerate(documents):
                words = ids.astype(np.int64) - self.first_id
                bags[row, words[(words >= 0) & (words < self.num_words)]] = 1
            return bags
        rows = np.full((len(documents), length or self.max_ids), PADDING, np.int32)
        for row, ids in enumerate(documents):
            kept = self.kept(ids)
            rows[row, : len(kept)] = kept
        return rows

    def kept(self, ids: Ids) -> Ids:
        """Returns the part of a document's ids that is read."""
        return ids[: self.max_ids] if self.part == "first" else ids[-self.max_ids :]


class DocumentBatches:
    """The rows [first_row, last_row) of any step of a classifier's training: a document a row, its label the target."""

    def __init__(
        self,
        reader: DocumentReader,
        labels: DocumentLabels,
        lanes: Lanes,
        layout: DocumentLayout,
        *,
        first_row: int,
        last_row: int,
    ) -> None:
        self._reader = reader
        self._labels = labels
        self._lanes = lanes
        self._layout = layout
        self._rows = first_row, last_row

    def batch(self, step: int) -> Batch:
        """Returns this worker's rows of the global batch at `step`: targets and weights are [R, 1]."""
        places = self._lanes.windows(step, first_row=self._rows[0], last_row=self._rows[1])  # [R]
        counts = places != MASKED
        nothing = np.zeros(0, np.uint8)
        documents: list[Ids] = [
            self._reader.ids(int(self._labels.places[place])) if counted else nothing
            for place, counted in zip(places, counts, strict=True)
        ]
        targets = np.where(counts, self._labels.labels[places], 0).astype(np.int32)
        return Batch(
            step=step,
            inputs=self._layout.inputs(documents),
            targets=targets[:, None],
            weights=counts.astype(np.float32)[:, None],
        )


def _label_columns(manifest: Manifest, split: str) -> Iterator[list[str | None]]:
    """Yields the labels of a split's documents, shard by shard; of a shard only that column is read."""
    for shard in manifest.split(split).shards:
        with storage.open_seekable(storage.join(manifest.uri, shard.name)) as stream:
            yield pq.read_table(stream, columns=["label"], use_threads=False)["label"].to_pylist()
