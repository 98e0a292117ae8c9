"""Records which documents are duplicates, for ingests that write shards in the order of the sources.

Duplicates are found by ranges of keys and removed by ranges of chunks. They are therefore exchanged like documents: one
file per range of keys, in which the duplicates of a run are contiguous.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa

from textgen import storage
from textgen.ingest.exchange import Part, Slice

DUPLICATE = np.dtype([("chunk", "<i4"), ("file", "<i4"), ("row", "<i8")])


@dataclass(frozen=True, kw_only=True)
class DuplicateFile:
    """The duplicates in a range of keys, ordered by chunk."""

    name: str
    """Path relative to the output folder."""
    offsets: list[int]
    """Offset of each run's duplicates and the end of the last, in bytes, [num_runs + 1]."""

    def slices(self, first_run: int, stop_run: int) -> list[Slice]:
        """Returns the slice of the file with the duplicates of the given runs, or no slice if there are none."""
        start, stop = self.offsets[first_run], self.offsets[stop_run]
        return [Slice(name=self.name, start=start, stop=stop)] if start < stop else []


def write_duplicates(output: str, name: str, duplicates: pa.Table, first_chunks: Sequence[int]) -> DuplicateFile:
    """Writes duplicates with columns as in DUPLICATE; `first_chunks` gives the first chunk of each run."""
    rows = np.empty(duplicates.num_rows, DUPLICATE)
    for column in duplicates.column_names:
        rows[column] = duplicates[column].to_numpy()
    rows = np.sort(rows, order=["chunk", "file", "row"])
    if len(rows):
        storage.write_bytes(storage.join(output, name), rows.tobytes())
    places = np.searchsorted(rows["chunk"], np.asarray(first_chunks))
    return DuplicateFile(name=name, offsets=[*(places * DUPLICATE.itemsize).tolist(), rows.nbytes])


@contextlib.contextmanager
def read_duplicates(output: str, slices: Sequence[Slice]) -> Iterator[DuplicateReader]:
    """Downloads the duplicates in the given slices to the local disk."""
    with tempfile.TemporaryFile(prefix="textgen-duplicates-") as file:
        places = []
        for place in slices:
            start = file.tell()
            uri = storage.join(output, place.name)
            with storage.open_range(uri, start=place.start, stop=place.stop) as stream:
                shutil.copyfileobj(stream, file)
            places.append((start, file.tell()))
        file.flush()
        yield DuplicateReader(file, places)


class DuplicateReader:
    """Duplicates in a local file, ordered by chunk within each slice. Only those of one part are held in memory."""

    def __init__(self, file: IO[bytes], places: Sequence[tuple[int, int]]) -> None:
        self._file = file
        self._places = places

    def without(self, documents: pa.Table, part: Part) -> pa.Table:
        """Returns the documents of a part that are not duplicates."""
        found = np.concatenate([np.empty(0, DUPLICATE), *(self._of(place, part) for place in self._places)])
        if not len(found):
            return documents
        columns = {name: pa.array(np.ascontiguousarray(found[name])) for name in ("file", "row")}
        return documents.join(pa.table(columns), ["file", "row"], join_type="left anti", use_threads=False)

    def _of(self, place: tuple[int, int], part: Part) -> Any:
        start, stop = place
        rows = np.memmap(self._file, DUPLICATE, "r", offset=start, shape=((stop - start) // DUPLICATE.itemsize,))
        first, last = np.searchsorted(rows["chunk"], [part.first_chunk, part.stop_chunk])
        return np.array(rows[first:last])
