"""The three tasks of an ingest, which run on workers: stage source files, count a range of keys, write shards."""

from __future__ import annotations

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from textgen import storage
from textgen.corpus.sources import SourceFile
from textgen.corpus.splitting import KeyRange, in_split, is_duplicate, sort_by_key
from textgen.ingest.duplicates import DuplicateFile, read_duplicates, write_duplicates
from textgen.ingest.encoding import closing_ids, count_symbols, encode_documents, opening_ids
from textgen.ingest.exchange import Area, Layout, Part, RunIndex, Slice, read_parts
from textgen.ingest.staging import DOCUMENT_OVERHEAD_BYTES, STAGED, STAGING_NAME, stage_batch
from textgen.spec import CorpusSpec, RunSpec
from textgen.windows.manifest import Shard
from textgen.windows.shards import write_shard
from textgen.windows.vocabulary import Vocabulary

Values = dict[str, Any]
Symbol = Any
"""A code point, a byte value or a word; all symbols of an ingest are of the same kind."""


@dataclass(kw_only=True)
class CountedRange:
    """Counts over the documents in a range of keys, without duplicates."""

    documents: Counter[str] = field(default_factory=Counter)
    """Number of documents by split."""
    symbols: Counter[str] = field(default_factory=Counter)
    """Number of symbols by split."""
    weight_bytes: Counter[str] = field(default_factory=Counter)
    """Memory size of the documents by split."""
    train_symbols: Counter[Symbol] = field(default_factory=Counter)
    """Number of occurrences of each symbol in `train`."""
    distinct: set[Symbol] = field(default_factory=set)
    """Distinct symbols in all splits."""
    train_values: set[tuple[str, str]] = field(default_factory=set)
    """Distinct (column, value) pairs in `train`, for the columns that documents are conditioned on."""
    duplicates: int = 0
    duplicate_files: list[DuplicateFile] = field(default_factory=list)
    """The duplicates, if shards are written in the order of the sources."""

    def add(self, other: CountedRange) -> None:
        """Adds the counts of another range."""
        for item in dataclasses.fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            if isinstance(mine, Counter | set):
                mine.update(theirs)
            else:
                setattr(self, item.name, mine + theirs)

    def to_dict(self) -> Values:
        """Returns JSON values for `from_dict`."""
        return {
            "documents": dict(self.documents),
            "symbols": dict(self.symbols),
            "weight_bytes": dict(self.weight_bytes),
            "train_symbols": sorted(self.train_symbols.items()),
            "distinct": sorted(self.distinct),
            "train_values": sorted(self.train_values),
            "duplicates": self.duplicates,
            "duplicate_files": [dataclasses.asdict(file) for file in self.duplicate_files],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CountedRange:
        """Builds counts from the result of `to_dict`."""
        return cls(
            documents=Counter(values["documents"]),
            symbols=Counter(values["symbols"]),
            weight_bytes=Counter(values["weight_bytes"]),
            train_symbols=Counter(dict(values["train_symbols"])),
            distinct=set(values["distinct"]),
            train_values={(column, value) for column, value in values["train_values"]},
            duplicates=values["duplicates"],
            duplicate_files=[DuplicateFile(**file) for file in values["duplicate_files"]],
        )


def stage(
    item: Mapping[str, Any], *, output: str, spec: CorpusSpec, layout: Layout, chunk_bytes: int
) -> Iterator[Values]:
    """Stages a batch of source files; yields the counts of each chunk for progress reports."""
    groups = [[SourceFile(**values) for values in group] for group in item["groups"]]
    for chunk in stage_batch(
        groups,
        spec,
        output=output,
        batch=item["batch"],
        first_group=item["first_group"],
        layout=layout,
        chunk_bytes=chunk_bytes,
    ):
        yield {"records": chunk.records, "weight_bytes": chunk.weight_bytes, "source_bytes": chunk.source_bytes}


def count(
    item: Mapping[str, Any], *, output: str, index: RunIndex, splits: Mapping[str, KeyRange], spec: RunSpec
) -> Iterator[Values]:
    """Counts the documents and symbols of a range of keys."""
    counted = CountedRange()
    repeated: list[pa.Table] = []
    parts = [Part(keys=keys) for keys in KeyRange(**item["keys"]).parts(item["num_parts"])]
    for part in read_parts(output, index.slices(output, _area(item)), parts, STAGED):
        documents = sort_by_key(part, test_categories=spec.corpus.test_categories)
        if spec.corpus.deduplicate:
            repeats = is_duplicate(documents)
            counted.duplicates += repeats.true_count
            if spec.corpus.document_order == "file":
                repeated.append(documents.filter(repeats).select(["chunk", "file", "row"]))
            documents = documents.filter(pc.invert(repeats))
        _count_documents(documents, counted, splits=splits, spec=spec)
    if repeated:
        name = f"{STAGING_NAME}/duplicates/{item['range']:05d}"
        counted.duplicate_files.append(write_duplicates(output, name, pa.concat_tables(repeated), index.first_chunks))
    yield counted.to_dict()


def _count_documents(
    documents: pa.Table, counted: CountedRange, *, splits: Mapping[str, KeyRange], spec: RunSpec
) -> None:
    """Adds documents without duplicates to the counts."""
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


def write(
    item: Mapping[str, Any], *, output: str, index: RunIndex, vocabulary: Vocabulary, spec: CorpusSpec
) -> Iterator[Values]:
    """Writes the shards of an item and yields each one that has documents."""
    parts = [_part(values) for values in item["parts"]]
    slices = index.slices(output, _area(item))
    with read_duplicates(output, [Slice(**values) for values in item["duplicates"]]) as duplicates:
        for values, part, documents in zip(
            item["parts"], parts, read_parts(output, slices, parts, STAGED), strict=True
        ):
            if spec.document_order == "hash":
                documents = sort_by_key(documents, test_categories=spec.test_categories)
                if spec.deduplicate:
                    documents = documents.filter(pc.invert(is_duplicate(documents)))
            else:
                documents = duplicates.without(documents, part)
                documents = documents.sort_by([("file", "ascending"), ("row", "ascending")])
            if spec.test_categories:  # Otherwise the keys alone determine the split.
                documents = documents.filter(in_split(documents, values["split"], part.keys, spec))
            if documents.num_rows:
                name = f"{values['split']}/{values['part']:05d}.parquet"
                shard = _write_shard(documents, output, name, split=values["split"], vocabulary=vocabulary, spec=spec)
                yield {"split": values["split"], "shard": dataclasses.asdict(shard)}


def _write_shard(
    documents: pa.Table, output: str, name: str, *, split: str, vocabulary: Vocabulary, spec: CorpusSpec
) -> Shard:
    none_share = spec.condition_none_share if split == "train" else 0.0
    opening = opening_ids(documents, vocabulary, none_share=none_share)
    columns = {
        "ids": encode_documents(_texts(documents), vocabulary, opening=opening),
        "document_id": documents["key"],
        "label": documents["label"],
        "category": documents["category"],
    }
    return write_shard(output, name, pa.table(columns), id_dtype=vocabulary.id_dtype)


def without_last_separator(output: str, shard: Shard, vocabulary: Vocabulary) -> Shard:
    """Rewrites the last shard of a split without the separator after its last document."""
    num_bytes = len(closing_ids(vocabulary)) * vocabulary.id_dtype.itemsize
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard.parquet"
        storage.download(storage.join(output, shard.name), path)
        table = pq.read_table(path, use_threads=False)
    ids = table["ids"].combine_chunks()
    last = pa.array([ids[-1].as_py()[:-num_bytes]], pa.binary())
    changed = table.set_column(0, "ids", pa.chunked_array([ids.slice(0, len(ids) - 1), last]))
    return write_shard(output, shard.name, changed, id_dtype=vocabulary.id_dtype)


def _area(item: Mapping[str, Any]) -> Area:
    return Area(buckets=tuple(item["area"]["buckets"]), runs=tuple(item["area"]["runs"]))


def _part(values: Mapping[str, Any]) -> Part:
    return Part(keys=KeyRange(**values["keys"]), first_chunk=values["first_chunk"], stop_chunk=values["stop_chunk"])


def _texts(documents: pa.Table) -> pa.StringArray:
    return documents["text"].combine_chunks()
