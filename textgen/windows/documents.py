"""The labelled documents of a split, which a classifier is trained and evaluated on.

Letters: D labelled documents, R rows, W words, T ids.
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
from textgen.windows.shards import IdReader, iter_documents
from textgen.windows.vocabulary import Ids, Vocabulary

PADDING = -1
"""Fills rows after the end of a document."""


@dataclass(frozen=True, kw_only=True)
class DocumentLabels:
    """The labelled documents of a split and their labels."""

    places: npt.NDArray[np.int64]
    """Indices of the labelled documents in the split, ascending, [D]."""
    labels: Int32Array
    """Class index of each label, [D]."""
    num_unlabelled: int
    """Number of documents without a label."""
    num_unseen: int
    """Number of documents whose label does not occur in `train` and therefore has no class."""

    @classmethod
    def of(cls, manifest: Manifest, split: str, *, classes: Sequence[str]) -> DocumentLabels:
        """Reads the labels of a split, which takes 12 bytes of memory per document."""
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
    """Returns the classes of a classifier: the distinct labels of `train`, sorted.

    Raises:
        UserError: There are fewer than two.
    """
    classes = sorted({label for labels in _label_columns(manifest, "train") for label in labels if label is not None})
    if len(classes) < 2:
        raise UserError(
            f"the documents of {manifest.uri} have {len(classes)} distinct labels, and a classifier needs two or more; "
            "ingest with --set corpus.label_column=NAME"
        )
    return tuple(classes)


class DocumentReader:
    """Random access to the documents of a split. A shard is downloaded when one of its documents is first read.

    The offsets of the documents in the shards read so far are kept in memory: 8 bytes per document.
    """

    def __init__(self, manifest: Manifest, split: str) -> None:
        shards = manifest.split(split).shards
        end_id = manifest.vocabulary.end_id
        if end_id is None:
            raise UserError(
                f"the documents of {manifest.uri} are joined by a text, so their boundaries are lost; "
                "ingest with --set windows.separator=none"
            )
        self._end_id = end_id
        self._ids = IdReader(manifest, split)
        self._first_documents = [0, *itertools.accumulate(shard.num_documents for shard in shards)]
        self._first_ids = [0, *itertools.accumulate(shard.num_ids for shard in shards)]
        self._bounds: dict[int, npt.NDArray[np.int64]] = {}  # Shard -> document offsets.

    def ids(self, document: int) -> Ids:
        """Returns the ids of a document without END and controls."""
        shard = bisect.bisect_right(self._first_documents, document) - 1
        if shard not in self._bounds:
            first, stop = self._first_ids[shard], self._first_ids[shard + 1]
            ends = np.flatnonzero(self._ids.read(first, stop) == self._end_id)
            self._bounds[shard] = first + np.concatenate([[0], ends + 1])
        place = document - self._first_documents[shard]
        start, stop = self._bounds[shard][place : place + 2].tolist()
        ids = self._ids.read(start, stop - 1)
        return ids[~self._ids.vocabulary.is_control(ids)]  # A control may reveal the label.

    def __enter__(self) -> DocumentReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the open files."""
        self._ids.close()


@dataclass(frozen=True, kw_only=True)
class DocumentLayout:
    """How documents are laid out in a batch: as bags of words, or as ids padded to the same length."""

    is_bag: bool
    first_id: int
    """The id of the first word of a bag."""
    num_words: int
    max_ids: int
    """T: number of ids kept of a document."""
    part: Literal["first", "last"]

    @classmethod
    def of(
        cls, vocabulary: Vocabulary, *, is_bag: bool, max_ids: int, part: Literal["first", "last"]
    ) -> DocumentLayout:
        """Returns the layout for documents of a vocabulary."""
        return cls(
            is_bag=is_bag,
            first_id=vocabulary.num_reserved,
            num_words=len(vocabulary.symbols),
            max_ids=max_ids,
            part=part,
        )

    def inputs(self, documents: Sequence[Ids], *, length: int | None = None) -> Int32Array:
        """Returns the batch: 1 for each word that a document contains, [R, W], or ids with PADDING, [R, T].

        `length` makes T shorter than `max_ids`; no document may be longer.
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
        """Returns the part of a document's ids that is used."""
        return ids[: self.max_ids] if self.part == "first" else ids[-self.max_ids :]


class DocumentBatches:
    """Reads the rows [first_row, last_row) of any step of classifier training: a document and its label per row."""

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
    """Yields the labels of a split's documents, shard by shard; only that column is read."""
    for shard in manifest.split(split).shards:
        with storage.open_seekable(storage.join(manifest.uri, shard.name)) as stream:
            yield pq.read_table(stream, columns=["label"], use_threads=False)["label"].to_pylist()


def original_texts(manifest: Manifest, split: str) -> Iterator[str]:
    """Yields the documents of a split in order, as people wrote them: without marks."""
    codec = manifest.codec
    return (codec.decode(document.text) for document in iter_documents(manifest, split))
