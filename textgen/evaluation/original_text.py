"""Counts a scored text as it was before cleaning rules set marks in it.

With `mark_capitals` and its like a text has other characters than its author wrote: a mark before a capital, a digit
for a run of dots. Bits per character must not depend on that, or marks that cost next to nothing would look like a
gain. So the nats of all ids, those of the marks too, are divided by the characters that the text had.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from textgen.corpus.marks import unmark
from textgen.evaluation.tally import Tally
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader
from textgen.windows.vocabulary import Ids

READ_IDS = 2**21


class OriginalSizes:
    """How many characters and bytes the first ids of a split were; where no rule sets marks, what a tally counts."""

    def __init__(self, manifest: Manifest, split: str, *, max_ids: int | None = None) -> None:
        self._sizes: tuple[int, int] | None = None
        if manifest.mark_rules:
            num_ids = manifest.split(split).num_ids
            self._sizes = _sizes(manifest, split, num_ids=min(num_ids, num_ids if max_ids is None else max_ids))

    def counted(self, tally: Tally) -> Tally:
        """Returns the tally of all these ids with the characters and bytes that they were."""
        if self._sizes is None:
            return tally
        num_characters, num_bytes = self._sizes
        return dataclasses.replace(tally, num_characters=num_characters, num_bytes=num_bytes)


def _sizes(manifest: Manifest, split: str, *, num_ids: int) -> tuple[int, int]:
    """Returns characters + ENDs, and UTF-8 bytes with one for each END."""
    num_characters = num_bytes = 0
    for ids, has_end in _documents(manifest, split, num_ids=num_ids):
        text = unmark(manifest.vocabulary.decode(ids), manifest.mark_rules)
        num_characters += len(text) + has_end
        num_bytes += len(text.encode()) + has_end
    return num_characters, num_bytes


def _documents(manifest: Manifest, split: str, *, num_ids: int) -> Iterator[tuple[Ids, bool]]:
    """Yields the ids of each document of the first ids, without the END after it, and whether there is one.

    Where a text joins the documents, all are one: no mark reaches over the text between two of them.
    """
    vocabulary = manifest.vocabulary
    reader = IdReader(manifest, split)
    open_ids = np.empty(0, vocabulary.id_dtype)
    try:
        for start in range(0, num_ids, READ_IDS):
            ids = np.concatenate([open_ids, reader.read(start, min(start + READ_IDS, num_ids))])
            ends = np.flatnonzero(ids == vocabulary.end_id) if vocabulary.end_id is not None else np.empty(0, np.int64)
            *closed, open_ids = np.split(ids, ends + 1)
            yield from ((document[:-1], True) for document in closed)
    finally:
        reader.close()
    yield open_ids, False
