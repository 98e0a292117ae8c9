"""Staging: reads and cleans source files and writes their documents as runs (`textgen.ingest.exchange`).

Documents are collected in chunks of at most about `chunk_bytes`, sorted by key; several chunks make a run. Source files
are divided into groups of small files or one large file, and a chunk ends with its group. Several groups form a batch,
which one task stages. The batch's marker is written after its runs, and a batch with a marker is not staged again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from textgen import storage
from textgen.corpus.cleaning import clean, unmarked
from textgen.corpus.formats import REPEATED_HEADER, FileReport, Record
from textgen.corpus.reading import Readings, in_words
from textgen.corpus.records import read_records
from textgen.corpus.sources import SourceFile
from textgen.corpus.splitting import document_keys, is_duplicate, is_held_out, lowest_keys, sort_by_key
from textgen.errors import UserError
from textgen.ingest.exchange import Layout, Run, RunWriter
from textgen.spec import CorpusSpec

STAGING_NAME = "_staging"
REJECTED_NAME = "rejected"
CHUNK_BYTES = 64 * 2**20
BATCH_CHARS = 4 * 2**20
"""Number of characters cleaned at a time."""
DOCUMENT_OVERHEAD_BYTES = 64
"""Memory size of a document besides its text: key, row and offsets."""
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
    """Counts of one staged chunk and of the records it was made from."""

    source_bytes: int
    """Size of the source files completed with this chunk."""
    records: int = 0
    documents: int = 0
    duplicates: int = 0
    """Number of records whose text is already in the chunk."""
    dropped_by_rule: dict[str, int] = field(default_factory=dict)
    rejected_by_reason: dict[str, int] = field(default_factory=dict)
    weight_bytes: int = 0
    """Memory size of its documents."""
    reading: dict[str, Any] = field(default_factory=dict)
    """How the source files completed with this chunk were read (`Readings.to_dict`)."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The output of one staging task."""

    chunks: list[Chunk]
    runs: list[Run]
    lowest_keys: list[str]
    """The keys that `split_ranges` may need."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the batch as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Batch:
        """Builds a batch from the result of `to_dict`."""
        return cls(
            chunks=[Chunk(**chunk) for chunk in values["chunks"]],
            runs=[Run(**run) for run in values["runs"]],
            lowest_keys=values["lowest_keys"],
        )


def marker_uri(output: str, batch: int) -> str:
    """Returns the URI of a batch's marker."""
    return storage.join(output, STAGING_NAME, f"{batch:05d}.json")


def staged_batch(output: str, batch: int) -> Batch:
    """Reads a staged batch from its marker."""
    return Batch.from_dict(json.loads(storage.read_bytes(marker_uri(output, batch))))


def stage_batch(
    grouped: Sequence[Sequence[SourceFile]],
    spec: CorpusSpec,
    *,
    output: str,
    batch: int,
    first_group: int,
    layout: Layout,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[Chunk]:
    """Reads, cleans and stages the groups of a batch and writes its marker; yields each chunk when it is complete.

    `first_group` is the number of the first group, counted over all batches.
    """
    with contextlib.closing(_Stager(spec, output, batch=batch, layout=layout)) as stager:
        for group, files in enumerate(grouped, first_group):
            stager.begin(group)
            for file in files:
                report = FileReport()
                for records in _cut(read_records(file, spec, report=report)):
                    stager.add(records, file, report)
                    if stager.weight_bytes >= chunk_bytes:
                        yield stager.flush()
                stager.source_bytes += file.size_bytes
                stager.readings.add(file.uri, report)
            chunk = stager.flush()
            if group < first_group + len(grouped) - 1:
                yield chunk
        staged = stager.end()
        storage.write_bytes(marker_uri(output, batch), json.dumps(staged.to_dict()).encode())
        yield chunk


def _cut(records: Iterator[Record]) -> Iterator[list[Record]]:
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
    """Collects cleaned records into chunks, and chunks into runs."""

    def __init__(self, spec: CorpusSpec, output: str, *, batch: int, layout: Layout) -> None:
        self.source_bytes = 0
        self._spec, self._output, self._batch, self._layout = spec, output, batch, layout
        self._report = FileReport()
        self._chunks: list[Chunk] = []
        self._runs: list[Run] = []
        self._lowest: list[str] = []
        self._writer = RunWriter(layout.num_buckets)
        self._clear()

    def close(self) -> None:
        """Releases the local disk."""
        self._writer.close()

    def begin(self, group: int) -> None:
        """Starts a group of files."""
        self._group, self._first_chunk = group, len(self._chunks)

    def end(self) -> Batch:
        """Writes the last run and returns the batch."""
        self._write_run()
        return Batch(chunks=self._chunks, runs=self._runs, lowest_keys=self._lowest)

    def _clear(self) -> None:
        self.weight_bytes = 0
        self.readings = Readings()
        self._records = 0
        self._tables: list[pa.Table] = []
        self._dropped: Counter[str] = Counter()
        self._rejected: list[dict[str, Any]] = []

    def add(self, records: list[Record], file: SourceFile, report: FileReport) -> None:
        """Cleans a list of records of one file and adds them; `report` describes how the file is read."""
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
        texts = unmarked(kept["text"], self._spec)  # Keys, and so splits and duplicates, do not depend on marks.
        self._tables.append(kept.append_column("key", document_keys(texts, self._spec.seed)))
        self.weight_bytes += kept["text"].nbytes + DOCUMENT_OVERHEAD_BYTES * kept.num_rows

    def flush(self) -> Chunk:
        """Completes the current chunk and starts the next one."""
        categories = self._spec.test_categories
        documents = sort_by_key(pa.concat_tables([STAGED.empty_table(), *self._tables]), test_categories=categories)
        self._tables.clear()
        num_all = documents.num_rows
        repeats = is_duplicate(documents)
        drawn = pc.invert(pc.or_(repeats, is_held_out(documents, categories)))  # Assigned to a split by key.
        distinct = documents["key"].filter(drawn).to_pylist()
        self._lowest = lowest_keys(sorted({*self._lowest, *lowest_keys(distinct, self._spec)}), self._spec)
        if self._spec.deduplicate:
            documents = documents.filter(pc.invert(repeats))
        if self._rejected:
            stem = f"{self._group:05d}-{len(self._chunks) - self._first_chunk:05d}"
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self._rejected)
            storage.write_bytes(storage.join(self._output, REJECTED_NAME, f"{stem}.jsonl"), lines.encode())
        chunk = Chunk(
            source_bytes=self.source_bytes,
            records=self._records,
            documents=documents.num_rows,
            duplicates=num_all - documents.num_rows,
            dropped_by_rule=dict(sorted(self._dropped.items())),
            rejected_by_reason=dict(sorted(Counter(row["reason"] for row in self._rejected).items())),
            weight_bytes=documents["text"].nbytes + DOCUMENT_OVERHEAD_BYTES * documents.num_rows,
            reading=self.readings.to_dict(),
        )
        if documents.num_rows:
            self._writer.add(documents, chunk=len(self._chunks), weight_bytes=chunk.weight_bytes)
        self._chunks.append(chunk)
        if self._writer.num_bytes >= self._layout.run_bytes:
            self._write_run()
        self.source_bytes = 0
        self._clear()
        return chunk

    def _write_run(self) -> None:
        if self._writer.num_bytes:
            name = f"{STAGING_NAME}/{self._batch:05d}-{len(self._runs):05d}.run"
            self._runs.append(self._writer.write(self._output, name))

    def _table(self, records: list[Record], file: SourceFile) -> pa.Table:
        try:
            return _to_table(records, file.index)
        except UnicodeEncodeError:  # Lone surrogates: invalid bytes, or JSON escapes.
            return _to_table([record for record in records if self._is_sound(record, file)], file.index)

    def _is_sound(self, record: Record, file: SourceFile) -> bool:
        for value in (record.text, record.label, record.category):
            try:
                (value or "").encode()
            except UnicodeEncodeError as error:
                code = ord(error.object[error.start])
                from_bytes = 0xDC80 <= code <= 0xDCFF  # The range that `surrogateescape` uses for bytes.
                if from_bytes and self._spec.encoding_errors == "fail":
                    raise UserError(
                        f"{file.uri}, line {record.row}: the byte 0x{code - 0xDC00:02x} is invalid in "
                        f"{self._spec.encoding}; set the right encoding, such as --set corpus.encoding=cp1252, or "
                        "reject such rows with --set corpus.encoding_errors=reject"
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
