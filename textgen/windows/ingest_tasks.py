"""What the tasks of an ingest do on workers: stage source files, count a range of keys, write a shard."""

from __future__ import annotations

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from textgen import storage
from textgen.corpus.sources import SourceFile
from textgen.corpus.splitting import KeyRange, in_split
from textgen.corpus.staging import (
    DOCUMENT_OVERHEAD_BYTES,
    STAGING_NAME,
    is_duplicate,
    read_documents,
    sort_by_key,
    stage_group,
)
from textgen.spec import CorpusSpec, RunSpec
from textgen.windows.encoding import closing_ids, count_symbols, encode_documents, opening_ids
from textgen.windows.manifest import Shard
from textgen.windows.shards import write_shard
from textgen.windows.vocabulary import Vocabulary

Values = dict[str, Any]
Symbol = Any
"""A code point, a byte value, or a word: all symbols of an ingest are of one kind."""


@dataclass(kw_only=True)
class CountedRange:
    """What the documents of a range of keys add up to, duplicates left out."""

    documents: Counter[str] = field(default_factory=Counter)
    """By split."""
    symbols: Counter[str] = field(default_factory=Counter)
    """By split."""
    weight_bytes: Counter[str] = field(default_factory=Counter)
    """By split: memory that its documents take."""
    train_symbols: Counter[Symbol] = field(default_factory=Counter)
    """How often each symbol stands in `train`."""
    distinct: set[Symbol] = field(default_factory=set)
    """Symbols of all splits."""
    train_values: set[tuple[str, str]] = field(default_factory=set)
    """Distinct (column, value) in `train` of the columns that documents are conditioned on."""
    duplicates: int = 0
    duplicate_names: list[str] = field(default_factory=list)
    """Files that say which documents are duplicates, where shards are written in the order of the sources."""

    def add(self, other: CountedRange) -> None:
        """Adds another range's."""
        for item in dataclasses.fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            if isinstance(mine, Counter | set):
                mine.update(theirs)
            else:
                setattr(self, item.name, mine + theirs)

    def to_dict(self) -> Values:
        """Returns what `from_dict` reads: JSON-ready."""
        return {
            "documents": dict(self.documents),
            "symbols": dict(self.symbols),
            "weight_bytes": dict(self.weight_bytes),
            "train_symbols": sorted(self.train_symbols.items()),
            "distinct": sorted(self.distinct),
            "train_values": sorted(self.train_values),
            "duplicates": self.duplicates,
            "duplicate_names": self.duplicate_names,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CountedRange:
        """Builds the sums from `to_dict`'s result."""
        return cls(
            documents=Counter(values["documents"]),
            symbols=Counter(values["symbols"]),
            weight_bytes=Counter(values["weight_bytes"]),
            train_symbols=Counter(dict(values["train_symbols"])),
            distinct=set(values["distinct"]),
            train_values={(column, value) for column, value in values["train_values"]},
            duplicates=values["duplicates"],
            duplicate_names=list(values["duplicate_names"]),
        )


def stage(item: Mapping[str, Any], *, output: str, spec: CorpusSpec, chunk_bytes: int) -> Iterator[Values]:
    """Stages a group of source files; yields each chunk's numbers as progress."""
    files = [SourceFile(**values) for values in item["files"]]
    for chunk in stage_group(files, spec, output=output, group=item["group"], chunk_bytes=chunk_bytes):
        yield {"records": chunk.records, "weight_bytes": chunk.weight_bytes, "source_bytes": chunk.source_bytes}


def count(
    item: Mapping[str, Any], *, output: str, names: Sequence[str], splits: Mapping[str, KeyRange], spec: RunSpec
) -> Iterator[Values]:
    """Counts the documents and symbols of a range of keys."""
    documents = read_documents(output, names, KeyRange(**item["keys"]))
    documents = sort_by_key(documents, test_categories=spec.corpus.test_categories)
    counted = CountedRange()
    if spec.corpus.deduplicate:
        repeats = is_duplicate(documents)
        duplicates = documents.filter(repeats).select(["file", "row"])
        documents = documents.filter(pc.invert(repeats))
        counted.duplicates = duplicates.num_rows
        if duplicates.num_rows and spec.corpus.document_order == "file":
            name = f"{STAGING_NAME}/duplicates/{item['range']:05d}.parquet"
            _write_table(duplicates, storage.join(output, name))
            counted.duplicate_names.append(name)
    for split, keys in splits.items():
        own = documents.filter(in_split(documents, split, keys, spec.corpus))
        texts = _texts(own)
        symbols = count_symbols(texts, spec.windows.unit)
        counted.documents[split] += len(texts)
        counted.symbols[split] += sum(symbols.values())
        counted.weight_bytes[split] += texts.nbytes + DOCUMENT_OVERHEAD_BYTES * len(texts)
        counted.distinct.update(symbols)
        if split == "train":
            counted.train_symbols.update(symbols)
            for column in spec.corpus.condition_on:
                counted.train_values.update((column, value) for value in own[column].drop_null().unique().to_pylist())
    yield counted.to_dict()


def write(
    item: Mapping[str, Any], *, output: str, duplicates: Sequence[str], vocabulary: Vocabulary, spec: CorpusSpec
) -> Iterator[Values]:
    """Writes one shard of a split; yields nothing where its range holds no documents."""
    keys = KeyRange(**item["keys"])
    documents = read_documents(output, item["names"], keys)
    if spec.document_order == "hash":
        documents = sort_by_key(documents, test_categories=spec.test_categories)
        if spec.deduplicate:
            documents = documents.filter(pc.invert(is_duplicate(documents)))
    else:
        for name in duplicates:
            documents = _left_out(documents, storage.join(output, name))
        documents = documents.sort_by([("file", "ascending"), ("row", "ascending")])
    if spec.test_categories:  # Otherwise, the keys alone say which split it is.
        documents = documents.filter(in_split(documents, item["split"], keys, spec))
    if not documents.num_rows:
        return
    none_share = spec.condition_none_share if item["split"] == "train" else 0.0
    opening = opening_ids(documents, vocabulary, none_share=none_share)
    columns = {
        "ids": encode_documents(_texts(documents), vocabulary, opening=opening),
        "document_id": documents["key"],
        "label": documents["label"],
        "category": documents["category"],
    }
    name = f"{item['split']}/{item['part']:05d}.parquet"
    shard = write_shard(output, name, pa.table(columns), id_dtype=vocabulary.id_dtype)
    yield {"split": item["split"], "shard": dataclasses.asdict(shard)}


def without_last_separator(output: str, shard: Shard, vocabulary: Vocabulary) -> Shard:
    """Writes a shard anew without the separator after its last document, where the split ends."""
    num_bytes = len(closing_ids(vocabulary)) * vocabulary.id_dtype.itemsize
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard.parquet"
        storage.download(storage.join(output, shard.name), path)
        table = pq.read_table(path, use_threads=False)
    ids = table["ids"].combine_chunks()
    last = pa.array([ids[-1].as_py()[:-num_bytes]], pa.binary())
    changed = table.set_column(0, "ids", pa.chunked_array([ids.slice(0, len(ids) - 1), last]))
    return write_shard(output, shard.name, changed, id_dtype=vocabulary.id_dtype)


def _left_out(documents: pa.Table, uri: str) -> pa.Table:
    """Returns the documents without those that a file of duplicates names."""
    with storage.open_seekable(uri) as stream:
        duplicates = pq.read_table(stream, use_threads=False)
    return documents.join(duplicates, ["file", "row"], join_type="left anti", use_threads=False)


def _write_table(table: pa.Table, uri: str) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    storage.write_bytes(uri, sink.getvalue().to_pybytes())


def _texts(documents: pa.Table) -> pa.StringArray:
    return documents["text"].combine_chunks()
