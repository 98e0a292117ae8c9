"""Shards: Parquet files with one row per document, whose ids stand in a binary column.

A binary column stores an id in exactly its width (Parquet has no narrower integer than 32 bits), keeps document
boundaries, and is read back without a copy. The END id, or the separator's ids, stand at the end of each document.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import itertools
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from textgen import storage
from textgen.errors import UserError
from textgen.private_folders import private_folder
from textgen.windows.manifest import Manifest, Shard
from textgen.windows.vocabulary import Ids, Vocabulary

SCHEMA = pa.schema(
    [("ids", pa.binary()), ("document_id", pa.string()), ("label", pa.string()), ("category", pa.string())]
)
ROW_GROUP_DOCUMENTS = 10_000
MIN_CACHE_BYTES = 2 * 2**30
CACHE_SHARE_OF_FREE_DISK = 0.5
"""A cache that is smaller than the shards that a worker's lanes touch would fetch a shard for every block."""
MAX_OPEN_FILES = 16
"""Of a reader. Opening a file again takes microseconds, and a split may have thousands of shards."""
FETCHING, ABANDONED_SECONDS = "fetching-", 3600.0
"""How folders begin in which a shard is unpacked, and after which time their reader must have been killed."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One cleaned text of a split, decoded; UNKNOWN reads as U+FFFD."""

    document_id: str
    text: str
    label: str | None
    category: str | None


def write_shard(uri: str, name: str, table: pa.Table, *, id_dtype: np.dtype[Any]) -> Shard:
    """Writes the documents of `table` (columns as in SCHEMA) to `uri`/`name`, whole or not at all."""
    table = table.cast(SCHEMA)
    ids_hash = hashlib.sha256()
    num_id_bytes = 0
    for chunk in table["ids"].chunks:
        flat = _flat_bytes(chunk)
        ids_hash.update(flat)
        num_id_bytes += len(flat)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard.parquet"
        # Dictionaries and statistics of whole documents only cost space; zstd halves the ids' entropy-free half.
        pq.write_table(
            table,
            path,
            row_group_size=ROW_GROUP_DOCUMENTS,
            compression="zstd",
            use_dictionary=["label", "category"],
            write_statistics=False,
        )
        storage.upload(path, storage.join(uri, name))
        num_bytes = path.stat().st_size
    return Shard(
        name=name,
        num_ids=num_id_bytes // id_dtype.itemsize,
        num_documents=table.num_rows,
        num_bytes=num_bytes,
        sha256=ids_hash.hexdigest(),
    )


class IdReader:
    """Random access to the concatenated ids of a split.

    A shard is fetched when an id of it is first read, unpacked to a flat file in `cache_dir`, and read from there by
    position: memory holds what was asked for, the folder at most about `cache_bytes`, whoever filled it. Processes of
    one machine may share it: files appear by a rename, and one that another process removes stays readable where it is
    open.
    """

    def __init__(
        self, manifest: Manifest, split: str, *, cache_dir: Path | None = None, cache_bytes: int | None = None
    ) -> None:
        self._manifest = manifest
        self._shards = manifest.split(split).shards
        self._starts = [0, *itertools.accumulate(shard.num_ids for shard in self._shards)]
        self._dtype = manifest.vocabulary.id_dtype
        self._cache_dir = cache_dir or default_cache_dir()
        self._cache_bytes = cache_bytes or default_cache_bytes(self._cache_dir)
        self._open: dict[int, int] = {}  # Shard number -> file descriptor, the one used last at the end.
        weakref.finalize(self, _close_all, self._open)
        self._sound: set[tuple[int, int, int]] = set()  # Shard, device and number of cached files that were checked.

    @property
    def num_ids(self) -> int:
        """Ids of the split."""
        return self._starts[-1]

    @property
    def vocabulary(self) -> Vocabulary:
        """What the ids mean."""
        return self._manifest.vocabulary

    def read(self, start: int, stop: int) -> Ids:
        """Returns the ids at [start, stop), cut to the split, shape [stop - start], in the vocabulary's type.

        Raises:
            UserError: a shard is missing or damaged.
        """
        start, stop = max(start, 0), min(stop, self.num_ids)
        pieces = []
        while start < stop:
            index = bisect.bisect_right(self._starts, start) - 1
            piece_stop = min(stop, self._starts[index + 1])
            pieces.append(self._read_shard(index, start - self._starts[index], piece_stop - self._starts[index]))
            start = piece_stop
        ids: Ids = np.concatenate([np.empty(0, self._dtype), *pieces])
        return ids

    def close(self) -> None:
        """Closes the open files; the cache stays for the next reader."""
        _close_all(self._open)

    def _read_shard(self, index: int, start: int, stop: int) -> Ids:
        width = self._dtype.itemsize
        content = os.pread(self._descriptor(index), (stop - start) * width, start * width)
        ids: Ids = np.frombuffer(content, self._dtype)
        return ids

    def _descriptor(self, index: int) -> int:
        """Returns the open cached copy of a shard, fetched where there is none."""
        while index not in self._open:
            try:
                descriptor = os.open(self._cache_path(index), os.O_RDONLY)
            except FileNotFoundError:  # Not fetched yet, or another process made room since.
                self._make_room(self._size_bytes(index))
                self._unpack(index)
                continue
            if not self._is_sound(index, descriptor):
                os.close(descriptor)
                self._cache_path(index).unlink(missing_ok=True)
                continue
            self._open[index] = descriptor
        self._open[index] = self._open.pop(index)
        while len(self._open) > MAX_OPEN_FILES:
            os.close(self._open.pop(next(iter(self._open))))
        os.utime(self._open[index])  # Used last.
        return self._open[index]

    def _is_sound(self, index: int, descriptor: int) -> bool:
        """Says whether a cached file holds what its name says: a disk, a lost power or another program may differ."""
        about = os.fstat(descriptor)
        if about.st_size != self._size_bytes(index):
            return False
        name = (index, about.st_dev, about.st_ino)
        if name not in self._sound:  # Read once by each reader, however often it is opened.
            with open(descriptor, "rb", closefd=False) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != self._shards[index].sha256:
                    return False
            self._sound.add(name)
        return True

    def _size_bytes(self, index: int) -> int:
        return self._shards[index].num_ids * self._dtype.itemsize

    def _cache_path(self, index: int) -> Path:
        return self._cache_dir / f"{self._shards[index].sha256}.ids"

    def _make_room(self, num_bytes: int) -> None:
        """Removes what killed readers left, and the least recently used files until `num_bytes` more fit."""
        for folder in self._cache_dir.glob(f"{FETCHING}*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
        files = []
        for path in self._cache_dir.glob("*.ids"):
            with contextlib.suppress(FileNotFoundError):  # Another process makes room too.
                stat = path.stat()
                files.append((stat.st_mtime_ns, path, stat.st_size))
        held = sum(size for _, _, size in files)
        kept = {path for _, path, _ in files}
        for _, path, size in sorted(files):
            if held + num_bytes <= self._cache_bytes:
                break
            path.unlink(missing_ok=True)
            kept.remove(path)
            held -= size
        for index in [index for index in self._open if self._cache_path(index) not in kept]:
            os.close(self._open.pop(index))  # An open file takes up the disk even when its name is gone.

    def _unpack(self, index: int) -> None:
        """Fetches a shard and writes its ids flat, a row group at a time; checks them against the manifest."""
        self._cache_dir.mkdir(parents=True, exist_ok=True)
        shard = self._shards[index]
        damaged = UserError(
            f"{storage.join(self._manifest.uri, shard.name)} is not what the ingest wrote; run jobs.ingest again to an "
            "--output of another name"
        )
        with tempfile.TemporaryDirectory(dir=self._cache_dir, prefix=FETCHING) as folder:
            fetched, flat = Path(folder) / "shard.parquet", Path(folder) / "ids"
            storage.download(storage.join(self._manifest.uri, shard.name), fetched)
            try:
                ids_hash = _write_flat(fetched, flat)
            except (pa.ArrowException, OSError) as error:
                if isinstance(error, OSError) and error.errno:  # The disk's fault, not the file's.
                    raise
                raise damaged from None
            if ids_hash != shard.sha256 or flat.stat().st_size != self._size_bytes(index):
                raise damaged
            about = flat.stat()
            self._sound.add((index, about.st_dev, about.st_ino))
            os.replace(flat, self._cache_path(index))


def _close_all(descriptors: dict[int, int]) -> None:
    while descriptors:
        os.close(descriptors.popitem()[1])


def _write_flat(shard: Path, flat: Path) -> str:
    """Writes the ids of a Parquet file to `flat`, joined, and returns their sha256."""
    ids_hash = hashlib.sha256()
    with open(flat, "wb") as sink, pq.ParquetFile(shard) as file:
        for batch in file.iter_batches(columns=["ids"], batch_size=ROW_GROUP_DOCUMENTS):
            content = _flat_bytes(batch.column(0))
            ids_hash.update(content)
            sink.write(content)
    return ids_hash.hexdigest()


def iter_documents(manifest: Manifest, split: str) -> Iterator[Document]:
    """Yields the documents of a split in order, decoded, without the END or the separator after them."""
    vocabulary = manifest.vocabulary
    num_joining = len(vocabulary.encode(vocabulary.separator)) if vocabulary.separator is not None else 0
    shards = manifest.split(split).shards
    num_left = sum(shard.num_documents for shard in shards)
    for shard in shards:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "shard.parquet"
            storage.download(storage.join(manifest.uri, shard.name), path)
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=1000):
                    for row in batch.to_pylist():
                        num_left -= 1
                        ids = np.frombuffer(row["ids"], vocabulary.id_dtype)
                        if num_joining and num_left:  # Nothing follows the last document.
                            ids = ids[:-num_joining]
                        yield Document(
                            document_id=row["document_id"],
                            text=vocabulary.decode(ids),
                            label=row["label"],
                            category=row["category"],
                        )


def default_cache_bytes(cache_dir: Path) -> int:
    """Returns how large the cache may grow on its disk."""
    existing = next(folder for folder in (cache_dir, *cache_dir.absolute().parents) if folder.exists())
    return max(MIN_CACHE_BYTES, int(shutil.disk_usage(existing).free * CACHE_SHARE_OF_FREE_DISK))


def default_cache_dir() -> Path:
    """Returns the folder of fetched shards on this machine: that of `TEXTGEN_CACHE_DIR`, or one of this user alone.

    Raises:
        UserError: it stands in the folder for temporary files, and is not this user's own.
    """
    chosen = os.environ.get("TEXTGEN_CACHE_DIR")
    return Path(chosen) if chosen else private_folder("cache", variable="TEXTGEN_CACHE_DIR")


def _flat_bytes(ids: pa.Array) -> bytes:
    """Returns the bytes of a binary array, all values joined."""
    offsets = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1]
    values = ids.buffers()[2]
    return values[int(offsets[0]) : int(offsets[-1])].to_pybytes() if values is not None and len(ids) else b""
