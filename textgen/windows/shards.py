"""Shards: Parquet files with one row per document and the document's ids in a binary column.

A binary column stores each id at its exact width (Parquet's narrowest integer has 32 bits), keeps document boundaries
and can be read without a copy. Each document ends with the END id or the separator's ids.
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
"""If the cache is smaller than the shards that a worker's lanes read from, every block downloads a shard again."""
MAX_OPEN_FILES = 16
"""Open files per reader. Reopening a file takes microseconds, and a split may have thousands of shards."""
FETCHING, ABANDONED_SECONDS = "fetching-", 3600.0
"""Prefix of the folders in which shards are unpacked, and the age at which such a folder counts as abandoned."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One decoded document of a split; UNKNOWN becomes U+FFFD."""

    document_id: str
    text: str
    label: str | None
    category: str | None


def write_shard(uri: str, name: str, table: pa.Table, *, id_dtype: np.dtype[Any]) -> Shard:
    """Writes the documents of `table` (columns as in SCHEMA) atomically to `uri`/`name`."""
    table = table.cast(SCHEMA)
    ids_hash = hashlib.sha256()
    num_id_bytes = 0
    for chunk in table["ids"].chunks:
        flat = _flat_bytes(chunk)
        ids_hash.update(flat)
        num_id_bytes += len(flat)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard.parquet"
        # Dictionaries and statistics of whole documents waste space; zstd removes the redundancy of the ids.
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

    When an id of a shard is first read, the shard is downloaded and unpacked to a flat file in `cache_dir`, which is
    then read by position. Memory holds only the requested ids. The cache is limited to about `cache_bytes`, including
    files of other readers. Processes on one machine may share it: files are renamed into place, and a file that another
    process removes stays readable while it is open.
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
        self._open: dict[int, int] = {}  # Shard number -> file descriptor, most recently used last.
        weakref.finalize(self, _close_all, self._open)
        self._sound: set[tuple[int, int, int]] = set()  # Shard, device and inode of verified cached files.

    @property
    def num_ids(self) -> int:
        """Number of ids in the split."""
        return self._starts[-1]

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the ids."""
        return self._manifest.vocabulary

    def read(self, start: int, stop: int) -> Ids:
        """Returns the ids at [start, stop), limited to the split, shape [stop - start], in the vocabulary's type.

        Raises:
            UserError: A shard is missing or damaged.
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

    def __enter__(self) -> IdReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the open files. The cache stays for later readers."""
        _close_all(self._open)

    def _read_shard(self, index: int, start: int, stop: int) -> Ids:
        width = self._dtype.itemsize
        content = os.pread(self._descriptor(index), (stop - start) * width, start * width)
        ids: Ids = np.frombuffer(content, self._dtype)
        return ids

    def _descriptor(self, index: int) -> int:
        """Returns a descriptor of the cached shard, which is downloaded if it is not cached."""
        while index not in self._open:
            try:
                descriptor = os.open(self._cache_path(index), os.O_RDONLY)
            except FileNotFoundError:  # Not downloaded yet, or evicted by another process.
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
        os.utime(self._open[index])  # Marks it as most recently used.
        return self._open[index]

    def _is_sound(self, index: int, descriptor: int) -> bool:
        """Returns whether a cached file matches its hash; disk faults, power loss or other programs may damage it."""
        about = os.fstat(descriptor)
        if about.st_size != self._size_bytes(index):
            return False
        name = (index, about.st_dev, about.st_ino)
        if name not in self._sound:  # Each reader verifies a file only once, however often it is opened.
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
        """Removes leftovers of killed readers, then the least recently used files until `num_bytes` more fit."""
        for folder in self._cache_dir.glob(f"{FETCHING}*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
        files = []
        for path in self._cache_dir.glob("*.ids"):
            with contextlib.suppress(FileNotFoundError):  # Another process may evict it at the same time.
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
            os.close(self._open.pop(index))  # An open file occupies the disk even after it is unlinked.

    def _unpack(self, index: int) -> None:
        """Downloads a shard, writes its ids to a flat file and checks them against the manifest."""
        self._cache_dir.mkdir(parents=True, exist_ok=True)
        shard = self._shards[index]
        damaged = UserError(
            f"{storage.join(self._manifest.uri, shard.name)} differs from the file that the ingest wrote; run "
            "jobs.ingest again with another --output"
        )
        with tempfile.TemporaryDirectory(dir=self._cache_dir, prefix=FETCHING) as folder:
            fetched, flat = Path(folder) / "shard.parquet", Path(folder) / "ids"
            storage.download(storage.join(self._manifest.uri, shard.name), fetched)
            try:
                ids_hash = _write_flat(fetched, flat)
            except (pa.ArrowException, OSError) as error:
                if isinstance(error, OSError) and error.errno:  # An error of the disk, not of the file's content.
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
    """Writes the concatenated ids of a Parquet file to `flat` and returns their sha256."""
    ids_hash = hashlib.sha256()
    with open(flat, "wb") as sink, pq.ParquetFile(shard) as file:
        for batch in file.iter_batches(columns=["ids"], batch_size=ROW_GROUP_DOCUMENTS):
            content = _flat_bytes(batch.column(0))
            ids_hash.update(content)
            sink.write(content)
    return ids_hash.hexdigest()


def iter_documents(manifest: Manifest, split: str) -> Iterator[Document]:
    """Yields the decoded documents of a split in order, without END or separators."""
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
                        if num_joining and num_left:  # The last document has no separator.
                            ids = ids[:-num_joining]
                        yield Document(
                            document_id=row["document_id"],
                            text=vocabulary.decode(ids),
                            label=row["label"],
                            category=row["category"],
                        )


def default_cache_bytes(cache_dir: Path) -> int:
    """Returns the size limit of the cache, which depends on the free disk space."""
    existing = next(folder for folder in (cache_dir, *cache_dir.absolute().parents) if folder.exists())
    return max(MIN_CACHE_BYTES, int(shutil.disk_usage(existing).free * CACHE_SHARE_OF_FREE_DISK))


def default_cache_dir() -> Path:
    """Returns the folder for cached shards: `TEXTGEN_CACHE_DIR`, or else a private folder of this user.

    Raises:
        UserError: The folder is in the directory for temporary files and belongs to another user.
    """
    chosen = os.environ.get("TEXTGEN_CACHE_DIR")
    return Path(chosen) if chosen else private_folder("cache", variable="TEXTGEN_CACHE_DIR")


def _flat_bytes(ids: pa.Array) -> bytes:
    """Returns the concatenated values of a binary array."""
    offsets = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1]
    values = ids.buffers()[2]
    return values[int(offsets[0]) : int(offsets[-1])].to_pybytes() if values is not None and len(ids) else b""
