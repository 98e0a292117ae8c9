"""Staged chunks: cleaned documents between the source files and the shards.

A chunk is a Parquet file with at most about `chunk_bytes` of documents, sorted by key in small row groups, so that a
range of keys is read from many chunks at the cost of that range. Source files are staged in groups: small files
together, a large one alone; a group's marker is written after its chunks, and a group that has one is not read again.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from textgen import storage
from textgen.corpus.cleaning import clean, unmarked
from textgen.corpus.formats import REPEATED_HEADER, FileReport, Record
from textgen.corpus.reading import Readings, in_words
from textgen.corpus.records import read_records
from textgen.corpus.sources import SourceFile
from textgen.corpus.splitting import KeyRange, document_keys, is_held_out, lowest_keys
from textgen.errors import UserError
from textgen.spec import CorpusSpec

STAGING_NAME = "_staging"
REJECTED_NAME = "rejected"
CHUNK_BYTES = 64 * 2**20
GROUP_BYTES = 8 * 2**20
"""Size of source files, packed as they are, that are staged together."""
GROUP_FILES = 1000
BATCH_CHARS = 4 * 2**20
"""Characters that are cleaned at once."""
ROW_GROUP_BYTES = 2**20
DOCUMENT_OVERHEAD_BYTES = 64
"""What a document weighs beside its text: key, row and offsets."""
EXCERPT_CHARS = 200

RECORDS = pa.schema(
    [
        ("text", pa.string()),
        ("label", pa.string()),
        ("category", pa.string()),
        ("file", pa.int32()),
        ("row", pa.int64()),
    ]
)
STAGED = RECORDS.append(pa.field("key", pa.string()))


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """What one staged chunk holds, and what became of the records that it was made of."""

    name: str
    """Path below the output's folder; empty where no document was left."""
    source_bytes: int
    """Bytes of source files that were finished with this chunk."""
    records: int = 0
    documents: int = 0
    duplicates: int = 0
    """Records whose text the chunk already has."""
    dropped_by_rule: dict[str, int] = field(default_factory=dict)
    rejected_by_reason: dict[str, int] = field(default_factory=dict)
    weight_bytes: int = 0
    """Memory that its documents take."""
    lowest_keys: list[str] = field(default_factory=list)
    reading: dict[str, Any] = field(default_factory=dict)
    """How the source files that were finished with this chunk were read (`Readings.to_dict`)."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the chunk as a JSON-ready dictionary."""
        return dataclasses.asdict(self)


def groups(files: Sequence[SourceFile]) -> list[list[SourceFile]]:
    """Cuts the numbered files into groups that are staged by one task each; depends on names and sizes alone."""
    grouped: list[list[SourceFile]] = []
    size = 0
    for file in files:
        if not grouped or size + file.size_bytes > GROUP_BYTES or len(grouped[-1]) == GROUP_FILES:
            grouped.append([])
            size = 0
        grouped[-1].append(file)
        size += file.size_bytes
    return grouped


def marker_uri(output: str, group: int) -> str:
    """Returns where the marker of a group stands."""
    return storage.join(output, STAGING_NAME, f"{group:05d}.json")


def staged_chunks(output: str, group: int) -> list[Chunk]:
    """Returns the chunks of a group that is staged."""
    return [Chunk(**values) for values in json.loads(storage.read_bytes(marker_uri(output, group)))]


def stage_group(
    files: Sequence[SourceFile], spec: CorpusSpec, *, output: str, group: int, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Chunk]:
    """Reads, cleans and stages the files of a group; yields each chunk once it is written, and writes the marker."""
    chunks: list[Chunk] = []
    stager = _Stager(spec, output, group)
    for file in files:
        report = FileReport()
        for records in _batches(read_records(file, spec, report=report)):
            stager.add(records, file, report)
            if stager.weight_bytes >= chunk_bytes:
                chunks.append(stager.flush())
                yield chunks[-1]
        stager.source_bytes += file.size_bytes
        stager.readings.add(file.uri, report)
    chunks.append(stager.flush())
    storage.write_bytes(marker_uri(output, group), json.dumps([chunk.to_dict() for chunk in chunks]).encode())
    yield chunks[-1]


def read_documents(
    output: str, names: Iterable[str], keys: KeyRange, *, columns: Sequence[str] = tuple(STAGED.names)
) -> pa.Table:
    """Returns the staged documents of `names` whose keys lie in a range, in the order of the chunks."""
    tables = [STAGED.empty_table().select(columns)]
    for name in names:
        with storage.open_seekable(storage.join(output, name)) as stream, pq.ParquetFile(stream) as file:
            wanted = _row_groups(file.metadata, keys)
            if wanted:
                table = file.read_row_groups(wanted, columns=list(columns), use_threads=False)
                inside = pc.and_(pc.greater_equal(table["key"], keys.start), pc.less(table["key"], keys.stop))
                tables.append(table.filter(inside))
    return pa.concat_tables(tables)


def sort_by_key(documents: pa.Table, *, test_categories: Sequence[str] = ()) -> pa.Table:
    """Returns documents in the order of their keys; equal ones as they stand in the files, what is held out last."""
    order = [("key", "ascending"), ("held_out", "ascending"), ("file", "ascending"), ("row", "ascending")]
    ranked = documents.append_column("held_out", is_held_out(documents, test_categories))
    return ranked.sort_by(order).drop_columns("held_out").combine_chunks()


def is_duplicate(documents: pa.Table) -> pa.BooleanArray:
    """Says which documents, sorted by key, have the key of the one before."""
    keys = documents["key"].combine_chunks()
    if len(keys) == 0:
        return pa.array([], pa.bool_())
    return pa.concat_arrays([pa.array([False]), pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1))])


def _row_groups(metadata: pq.FileMetaData, keys: KeyRange) -> list[int]:
    place = STAGED.names.index("key")
    wanted = []
    for number in range(metadata.num_row_groups):
        statistics = metadata.row_group(number).column(place).statistics
        if statistics.max >= keys.start and statistics.min < keys.stop:
            wanted.append(number)
    return wanted


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    num_chars = 0
    for record in records:
        batch.append(record)
        num_chars += len(record.text or "") + DOCUMENT_OVERHEAD_BYTES
        if num_chars >= BATCH_CHARS:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch


class _Stager:
    """Gathers cleaned records until they are written as a chunk."""

    def __init__(self, spec: CorpusSpec, output: str, group: int) -> None:
        self.source_bytes = 0
        self._spec, self._output, self._group = spec, output, group
        self._num_chunks = 0
        self._report = FileReport()
        self._clear()

    def _clear(self) -> None:
        self.weight_bytes = 0
        self.readings = Readings()
        self._records = 0
        self._tables: list[pa.Table] = []
        self._dropped: Counter[str] = Counter()
        self._rejected: list[dict[str, Any]] = []

    def add(self, records: list[Record], file: SourceFile, report: FileReport) -> None:
        """Cleans a batch of records of one file, of which the report says how it is read."""
        self._records += len(records)
        self._report = report
        readable = []
        for record in records:
            if record.reason is None:
                readable.append(record)
            elif record.reason == REPEATED_HEADER:
                self._dropped[REPEATED_HEADER] += 1
            else:
                self._reject(file, record, record.reason)
        cleaned = clean(self._table(readable, file), self._spec)
        self._dropped += cleaned.dropped
        for row in cleaned.empty["row"].to_pylist():
            self._reject(file, Record(row, ""), "empty")
        kept = cleaned.kept
        texts = unmarked(kept["text"], self._spec)  # Marks change neither a split nor what is a duplicate.
        self._tables.append(kept.append_column("key", document_keys(texts, self._spec.seed)))
        self.weight_bytes += kept["text"].nbytes + DOCUMENT_OVERHEAD_BYTES * kept.num_rows

    def flush(self) -> Chunk:
        """Writes what was gathered and begins anew."""
        stem = f"{self._group:05d}-{self._num_chunks:05d}"
        categories = self._spec.test_categories
        documents = sort_by_key(pa.concat_tables([STAGED.empty_table(), *self._tables]), test_categories=categories)
        self._tables.clear()
        num_all = documents.num_rows
        repeats = is_duplicate(documents)
        drawn = pc.invert(pc.or_(repeats, is_held_out(documents, categories)))  # Into a split, by key.
        distinct = documents["key"].filter(drawn).to_pylist()
        if self._spec.deduplicate:
            documents = documents.filter(pc.invert(repeats))
        name = f"{STAGING_NAME}/{stem}.parquet" if documents.num_rows else ""
        if name:
            self._write(documents, storage.join(self._output, name))
        if self._rejected:
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self._rejected)
            storage.write_bytes(storage.join(self._output, REJECTED_NAME, f"{stem}.jsonl"), lines.encode())
        chunk = Chunk(
            name=name,
            source_bytes=self.source_bytes,
            records=self._records,
            documents=documents.num_rows,
            duplicates=num_all - documents.num_rows,
            dropped_by_rule=dict(sorted(self._dropped.items())),
            rejected_by_reason=dict(sorted(Counter(row["reason"] for row in self._rejected).items())),
            weight_bytes=documents["text"].nbytes + DOCUMENT_OVERHEAD_BYTES * documents.num_rows,
            lowest_keys=lowest_keys(distinct, self._spec),
            reading=self.readings.to_dict(),
        )
        self._num_chunks += 1
        self.source_bytes = 0
        self._clear()
        return chunk

    def _write(self, documents: pa.Table, uri: str) -> None:
        rows = max(1, documents.num_rows * ROW_GROUP_BYTES // max(1, documents.nbytes))
        with tempfile.TemporaryDirectory(prefix="textgen-chunk-") as folder:
            path = Path(folder) / "chunk.parquet"
            pq.write_table(
                documents, path, row_group_size=rows, compression="lz4", use_dictionary=False, write_statistics=["key"]
            )
            storage.upload(path, uri)

    def _table(self, records: list[Record], file: SourceFile) -> pa.Table:
        try:
            return _to_table(records, file.index)
        except UnicodeEncodeError:  # Lone surrogates: bytes that are not of the encoding, or escapes of JSON.
            return _to_table([record for record in records if self._is_sound(record, file)], file.index)

    def _is_sound(self, record: Record, file: SourceFile) -> bool:
        for value in (record.text, record.label, record.category):
            try:
                (value or "").encode()
            except UnicodeEncodeError as error:
                code = ord(error.object[error.start])
                from_bytes = 0xDC80 <= code <= 0xDCFF  # What `surrogateescape` makes of a byte.
                if from_bytes and self._spec.encoding_errors == "fail":
                    raise UserError(
                        f"{file.uri}, line {record.row}: the byte 0x{code - 0xDC00:02x} is not of the encoding "
                        f"{self._spec.encoding}; set the right one, such as --set corpus.encoding=cp1252, or leave out "
                        "such rows by --set corpus.encoding_errors=reject"
                    ) from None
                self._reject(file, record, "encoding" if from_bytes else "surrogate")
                return False
        return True

    def _reject(self, file: SourceFile, record: Record, reason: str) -> None:
        excerpt = (record.text or "")[:EXCERPT_CHARS].encode("utf-8", "backslashreplace").decode()
        read_as = self._report.at(record.row)
        words = "" if read_as is None else in_words(read_as.to_dict())
        self._rejected.append(
            {"file": file.uri, "row": record.row, "reason": reason, "excerpt": excerpt, "read_as": words}
        )
        self.weight_bytes += EXCERPT_CHARS + DOCUMENT_OVERHEAD_BYTES


def _to_table(records: list[Record], file_index: int) -> pa.Table:
    return pa.table(
        [
            [record.text for record in records],
            [record.label for record in records],
            [record.category for record in records],
            [file_index] * len(records),
            [record.row for record in records],
        ],
        schema=RECORDS,
    )
