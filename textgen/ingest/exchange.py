"""The exchange of documents between staging and tasks that read ranges of keys, with few, large requests.

A run is a file of frames. A frame holds the documents of one chunk whose keys lie in one bucket, sorted by key. Buckets
are equal parts of the key space, and a run stores its frames bucket by bucket. A task that reads some buckets requests
one range of bytes from each run and distributes the documents through a file on the local disk to parts that fit in
memory.

S bytes make S / B runs of about B bytes, and each of the S / B tasks, which also read about B bytes, makes one request
per run: (S / B)**2 requests. With B = sqrt(S * REQUEST_BYTES), this is S / REQUEST_BYTES, which is proportional to the
corpus. A larger B needs more scratch space on a task's local disk (1 GiB for a corpus of 1 TiB) but not more memory.
"""

from __future__ import annotations

import bisect
import itertools
import math
import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textgen import storage
from textgen.corpus.splitting import EVERY_KEY, KEY_SPACE, KeyRange, key_number, key_text

REQUEST_BYTES = 2**20
"""Average size of a request, once the corpus is large enough for runs above `MIN_RUN_BYTES`."""
MIN_RUN_BYTES = 8 * 2**20
BUCKETS_PER_RUN_BYTES = 4
"""Number of buckets per `run_bytes` of the corpus. A task may read up to one extra bucket at each end of its range."""
PREFIX_BITS = 32
"""Leading bits of a key that determine its bucket."""
CODEC = pa.Codec("zstd", compression_level=1)
HEADER = struct.Struct("<IQQ")
"""Frame header: chunk number, compressed size and uncompressed size, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The size of runs and tasks, and the number of buckets of the key space."""

    run_bytes: int
    num_buckets: int

    @classmethod
    def of(cls, corpus_bytes: int) -> Layout:
        """Returns the layout for a corpus of about `corpus_bytes`."""
        run_bytes = max(MIN_RUN_BYTES, math.isqrt(corpus_bytes * REQUEST_BYTES))
        return cls(run_bytes=run_bytes, num_buckets=BUCKETS_PER_RUN_BYTES * max(1, -(-corpus_bytes // run_bytes)))

    def buckets(self, keys: KeyRange) -> tuple[int, int]:
        """Returns the buckets that overlap a range of keys, as first and stop."""
        last = max(key_number(keys.stop) - 1, key_number(keys.start))
        first, last = (self._bucket(number) for number in (key_number(keys.start), last))
        return first, last + 1

    def keys(self, first: int, stop: int) -> KeyRange:
        """Returns the keys of the buckets [first, stop)."""
        shift = 128 - PREFIX_BITS
        bounds = (-(-(bucket << PREFIX_BITS) // self.num_buckets) << shift for bucket in (first, stop))
        start, end = (key_text(min(bound, KEY_SPACE)) for bound in bounds)
        return KeyRange(start=start, stop=end)

    def _bucket(self, number: int) -> int:
        return (number >> (128 - PREFIX_BITS)) * self.num_buckets >> PREFIX_BITS


@dataclass(frozen=True, kw_only=True)
class Run:
    """A file of frames, bucket by bucket."""

    name: str
    """Path relative to the output folder."""
    offsets: list[int]
    """Offset of each bucket and the end of the last, in bytes, [num_buckets + 1]."""
    weight_bytes: int
    """Memory size of its documents."""
    first_chunk: int
    """Number of its first chunk within the batch."""
    stop_chunk: int
    """Number of its last chunk within the batch, plus 1."""

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return self.offsets[-1]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A range of a run's bytes."""

    name: str
    start: int
    stop: int
    first_chunk: int = 0
    """Offset added to the chunk numbers in its frames."""


@dataclass(frozen=True, kw_only=True)
class Area:
    """A range of buckets in a range of runs, each [first, stop)."""

    buckets: tuple[int, int]
    runs: tuple[int, int]

    def joined(self, other: Area) -> Area:
        """Returns the smallest area that contains both."""
        (a, b), (c, d) = self.buckets, other.buckets
        (e, f), (g, h) = self.runs, other.runs
        return Area(buckets=(min(a, c), max(b, d)), runs=(min(e, g), max(f, h)))


@dataclass(frozen=True, kw_only=True)
class RunIndex:
    """Locates areas in runs. The offsets are in a file, of which a task reads two rows."""

    name: str
    """Path of the offsets, relative to the output folder: int64, [num_buckets + 1, num_runs]."""
    names: list[str]
    """Paths of the runs, relative to the output folder."""
    bases: list[int]
    """Offset to add to the chunk numbers in each run's frames."""
    first_chunks: list[int]
    """Number of each run's first chunk, counted over all batches."""

    def slices(self, output: str, area: Area) -> list[Slice]:
        """Returns the slices of runs that contain the documents of an area."""
        starts, stops = (self._offsets(output, bucket, area.runs) for bucket in area.buckets)
        return [
            Slice(name=self.names[run], start=start, stop=stop, first_chunk=self.bases[run])
            for run, start, stop in zip(range(*area.runs), starts, stops, strict=True)
            if start < stop
        ]

    def _offsets(self, output: str, bucket: int, runs: tuple[int, int]) -> list[int]:
        start, stop = (8 * (bucket * len(self.names) + run) for run in runs)
        with storage.open_range(storage.join(output, self.name), start=start, stop=stop) as stream:
            offsets: list[int] = np.frombuffer(stream.read(), "<i8").tolist()
        return offsets


@dataclass(frozen=True, kw_only=True)
class Part:
    """Documents read into memory together: those in a range of keys and in the chunks [first_chunk, stop_chunk)."""

    keys: KeyRange = EVERY_KEY
    first_chunk: int = 0
    stop_chunk: int = 2**31 - 1


class RunWriter:
    """Collects chunks in a file on the local disk and writes them as a run."""

    def __init__(self, num_buckets: int) -> None:
        self.num_bytes = 0
        self._weight_bytes = 0
        self._num_buckets = num_buckets
        self._chunks: list[int] = []
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="textgen-run-")  # noqa: SIM115 (closed by `close`)
        self._frames: list[tuple[int, int, int]] = []  # Bucket, offset, size.

    def add(self, documents: pa.Table, *, chunk: int, weight_bytes: int) -> None:
        """Adds the documents of a chunk, sorted by key."""
        edges = np.searchsorted(_buckets(documents["key"], self._num_buckets), np.arange(self._num_buckets + 1))
        for bucket, (start, stop) in enumerate(itertools.pairwise(edges.tolist())):
            if start < stop:
                frame = _frame(documents.slice(start, stop - start), chunk)
                self._file.write(frame)
                self._frames.append((bucket, self.num_bytes, len(frame)))
                self.num_bytes += len(frame)
        self._chunks.append(chunk)
        self._weight_bytes += weight_bytes

    def write(self, output: str, name: str) -> Run:
        """Writes the collected chunks as a run and starts the next one."""
        self._file.flush()
        sizes = [0] * self._num_buckets
        with tempfile.TemporaryDirectory(prefix="textgen-run-") as folder:
            path = Path(folder) / "run"
            with open(path, "wb") as sink:
                for bucket, offset, size in sorted(self._frames):
                    self._file.seek(offset)
                    sink.write(self._file.read(size))
                    sizes[bucket] += size
            storage.upload(path, storage.join(output, name))
        run = Run(
            name=name,
            offsets=[0, *itertools.accumulate(sizes)],
            weight_bytes=self._weight_bytes,
            first_chunk=self._chunks[0],
            stop_chunk=self._chunks[-1] + 1,
        )
        self._file.seek(0)
        self._file.truncate()
        self._frames.clear()
        self._chunks.clear()
        self.num_bytes = self._weight_bytes = 0
        return run

    def close(self) -> None:
        """Deletes the file on the local disk."""
        self._file.close()


def read_parts(output: str, slices: Sequence[Slice], parts: Sequence[Part], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yields the documents of each part found in the slices, in any order, with their chunk numbers.

    Each slice is requested once. At most one frame or one part is held in memory.
    """
    kept = schema.append(pa.field("chunk", pa.int32()))
    with tempfile.TemporaryFile(prefix="textgen-exchange-") as file:
        places: list[list[tuple[int, int]]] = [[] for _ in parts]
        position = 0
        for place in slices:
            for chunk, table in _frames(output, place, schema):
                for number, own in _rows_by_part(table, chunk, parts):
                    content = own.append_column("chunk", pa.array([chunk] * own.num_rows, pa.int32()))
                    content = content.combine_chunks().to_batches()[0].serialize()
                    file.write(content)
                    places[number].append((position, len(content)))
                    position += len(content)
        for mine in places:
            batches = []
            for start, size in mine:
                file.seek(start)
                batches.append(pa.ipc.read_record_batch(pa.py_buffer(file.read(size)), kept))
            yield pa.Table.from_batches(batches, kept)


def _rows_by_part(table: pa.Table, chunk: int, parts: Sequence[Part]) -> Iterator[tuple[int, pa.Table]]:
    """Yields the number of each part that has rows in a frame, and those rows."""
    column = table["key"].combine_chunks()
    lowest, highest = column[0].as_py(), column[-1].as_py()
    for number, part in enumerate(parts):
        if not part.first_chunk <= chunk < part.stop_chunk or part.keys.stop <= lowest or highest < part.keys.start:
            continue
        start, stop = (bisect.bisect_left(column, key, key=_text) for key in (part.keys.start, part.keys.stop))
        if start < stop:
            yield number, table.slice(start, stop - start)


def _text(scalar: pa.StringScalar) -> Any:
    return scalar.as_py()


def _frames(output: str, place: Slice, schema: pa.Schema) -> Iterator[tuple[int, pa.Table]]:
    """Yields the chunk number and the documents of each frame in a slice."""
    with storage.open_range(storage.join(output, place.name), start=place.start, stop=place.stop) as stream:
        left = place.stop - place.start
        while left:
            chunk, size, num_unpacked = HEADER.unpack(stream.read(HEADER.size))
            message = CODEC.decompress(stream.read(size), num_unpacked)
            yield place.first_chunk + chunk, pa.Table.from_batches([pa.ipc.read_record_batch(message, schema)])
            left -= HEADER.size + size


def _frame(documents: pa.Table, chunk: int) -> bytes:
    message = documents.combine_chunks().to_batches()[0].serialize()
    packed: bytes = CODEC.compress(message, asbytes=True)
    return HEADER.pack(chunk, len(packed), message.size) + packed


def _buckets(keys: pa.ChunkedArray, num_buckets: int) -> npt.NDArray[np.int64]:
    """Returns the bucket of each key, shape [num_keys]."""
    prefixes = "".join(key[: PREFIX_BITS // 4] for key in keys.to_pylist())
    numbers = np.frombuffer(bytes.fromhex(prefixes), ">u4").astype(np.int64)
    return numbers * num_buckets >> PREFIX_BITS
