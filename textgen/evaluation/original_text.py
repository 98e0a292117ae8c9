"""Counts the characters of a scored text before cleaning rules added marks.

Rules such as `mark_capitals` change the characters of a text: a mark before a capital, a digit for a run of dots. Bits
per character must not depend on this, or marks that cost almost nothing would look like a gain. Therefore the nats of
all ids, including the marks, are divided by the number of original characters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from textgen.evaluation.tally import Tally
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader
from textgen.windows.vocabulary import Ids

READ_IDS = 2**21


class OriginalSizes:
    """The number of original characters and bytes of the first ids of a split; without marks, those of the tally."""

    def __init__(self, manifest: Manifest, split: str, *, max_ids: int | None = None) -> None:
        self._sizes: tuple[int, int] | None = None
        if manifest.codec.has_marks:
            num_ids = manifest.split(split).num_ids
            self._sizes = _sizes(manifest, split, num_ids=min(num_ids, num_ids if max_ids is None else max_ids))

    def counted(self, tally: Tally) -> Tally:
        """Returns the tally of these ids with the number of original characters and bytes."""
        if self._sizes is None:
            return tally
        num_characters, num_bytes = self._sizes
        return dataclasses.replace(tally, num_characters=num_characters, num_bytes=num_bytes)


def _sizes(manifest: Manifest, split: str, *, num_ids: int) -> tuple[int, int]:
    """Returns the number of characters and of UTF-8 bytes; each END adds one to both."""
    codec = manifest.codec
    num_characters = num_bytes = 0
    for ids, has_end in _documents(manifest, split, num_ids=num_ids):
        text = codec.decode(manifest.vocabulary.decode(ids))
        num_characters += len(text) + has_end
        num_bytes += len(text.encode()) + has_end
    return num_characters, num_bytes


def _documents(manifest: Manifest, split: str, *, num_ids: int) -> Iterator[tuple[Ids, bool]]:
    """Yields the ids of each document without its END, and whether it has one.

    If a separator joins the documents, they count as one: no mark extends across the separator.
    """
    vocabulary = manifest.vocabulary
    open_ids = np.empty(0, vocabulary.id_dtype)
    with IdReader(manifest, split) as reader:
        for start in range(0, num_ids, READ_IDS):
            ids = np.concatenate([open_ids, reader.read(start, min(start + READ_IDS, num_ids))])
            ends = np.flatnonzero(ids == vocabulary.end_id) if vocabulary.end_id is not None else np.empty(0, np.int64)
            *closed, open_ids = np.split(ids, ends + 1)
            yield from ((document[:-1], True) for document in closed)
    yield open_ids, False
