"""Shards: written documents are read back at any position through a bounded cache."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.written_windows import written_manifest
from textgen.errors import UserError
from textgen.windows.manifest import Counts, Manifest, Shard, Split
from textgen.windows.shards import SCHEMA, IdReader, iter_documents, write_shard
from textgen.windows.vocabulary import Ids, Unit, Vocabulary

NUM_SYMBOLS: dict[Any, int] = {np.uint8: 100, np.uint16: 300, np.uint32: 70_000}
TEXTS = st.lists(st.text("abנ🙂", max_size=5), min_size=1, max_size=9)


def manifest_of(folder: Path, shards: list[list[Ids]], *, dtype: type = np.uint8) -> Manifest:
    """Writes documents of ids as the `train` split's shards."""
    codes = [code for code in range(NUM_SYMBOLS[dtype] + 2048) if not 0xD800 <= code < 0xE000][: NUM_SYMBOLS[dtype]]
    vocabulary = Vocabulary(unit="characters", symbols=tuple(codes))
    assert vocabulary.id_dtype == dtype
    written = []
    for number, documents in enumerate(shards):
        rows = [
            {"ids": ids.tobytes(), "document_id": f"{number}-{row}", "label": None, "category": None}
            for row, ids in enumerate(documents)
        ]
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        name = f"train/{number}.parquet"
        written.append(write_shard(str(folder), name, table, id_dtype=vocabulary.id_dtype))
    total = sum(map(len, shards))
    return Manifest(
        uri=str(folder),
        corpus={},
        windows={},
        sources=(),
        origin="",
        vocabulary=vocabulary,
        counts=Counts(
            records=total,
            documents=total,
            duplicates=0,
            dropped_by_rule={},
            rejected_by_reason={},
            characters=0,
            distinct_characters=0,
        ),
        splits={"train": Split(shards=tuple(written)), "val": Split(shards=()), "test": Split(shards=())},
    )


def random_shards(seed: int, sizes: list[list[int]], dtype: type) -> list[list[Ids]]:
    """Returns documents of random ids: their sizes, by shard."""
    generator = np.random.default_rng(seed)
    return [[generator.integers(0, NUM_SYMBOLS[dtype], size).astype(dtype) for size in shard] for shard in sizes]


SIZES = st.lists(st.lists(st.integers(0, 6), max_size=4), min_size=1, max_size=5)


@settings(max_examples=25, deadline=None)
@given(
    sizes=SIZES,
    dtype=st.sampled_from([np.uint8, np.uint16, np.uint32]),
    ranges=st.lists(st.tuples(st.integers(-3, 90), st.integers(-3, 90)), min_size=1, max_size=12),
    cache_bytes=st.sampled_from([0, 9, 2**20]),
)
def test_a_range_is_a_slice_of_all_ids(
    sizes: list[list[int]], dtype: type, ranges: list[tuple[int, int]], cache_bytes: int
) -> None:
    shards = random_shards(7, sizes, dtype)
    everything = np.concatenate([np.empty(0, dtype), *(ids for shard in shards for ids in shard)])
    with tempfile.TemporaryDirectory() as folder:
        manifest = manifest_of(Path(folder), shards, dtype=dtype)
        reader = IdReader(manifest, "train", cache_dir=Path(folder) / "cache", cache_bytes=cache_bytes)
        assert reader.num_ids == len(everything)
        for start, stop in ranges:
            got = reader.read(start, stop)
            assert got.dtype == dtype
            np.testing.assert_array_equal(got, everything[max(start, 0) : max(stop, 0)])
        reader.close()


def test_an_empty_split_has_no_ids(tmp_path: Path) -> None:
    reader = IdReader(manifest_of(tmp_path, []), "val", cache_dir=tmp_path / "cache")
    assert (reader.num_ids, reader.read(0, 10).tolist()) == (0, [])


def test_a_shard_of_other_ids_is_an_error(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, random_shards(5, [[30]], np.uint8))
    table = pq.read_table(tmp_path / "train" / "0.parquet")
    other = bytes(reversed(table["ids"][0].as_py()))
    pq.write_table(table.set_column(0, "ids", pa.array([other], pa.binary())), tmp_path / "train" / "0.parquet")
    with pytest.raises(
        UserError, match=r"train/0.parquet differs from the file that the ingest wrote; run jobs.ingest again"
    ):
        IdReader(manifest, "train", cache_dir=tmp_path / "cache").read(0, 1)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not a Parquet file at all"])
def test_a_shard_that_is_not_parquet_is_an_error(tmp_path: Path, content: bytes) -> None:
    manifest = manifest_of(tmp_path, random_shards(5, [[30]], np.uint8))
    (tmp_path / "train" / "0.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"train/0.parquet differs from the file that the ingest wrote"):
        IdReader(manifest, "train", cache_dir=tmp_path / "cache").read(0, 1)


def test_a_flipped_byte_that_changes_ids_is_an_error(tmp_path: Path) -> None:
    shards = random_shards(5, [[300, 20]], np.uint8)
    manifest = manifest_of(tmp_path, shards)
    path = tmp_path / "train" / "0.parquet"
    whole = path.read_bytes()
    refused = 0
    for position in range(4, 300, 7):  # The page of ids comes first.
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        with (
            tempfile.TemporaryDirectory() as cache,
            IdReader(manifest, "train", cache_dir=Path(cache)) as reader,
        ):
            try:
                np.testing.assert_array_equal(reader.read(0, 320), np.concatenate(shards[0]))
            except UserError:
                refused += 1
    assert refused > 30


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, random_shards(5, [[30]], np.uint8))
    (tmp_path / "train" / "0.parquet").unlink()
    with pytest.raises(UserError, match=r"train/0.parquet does not exist"):
        IdReader(manifest, "train", cache_dir=tmp_path / "cache").read(0, 1)


@settings(max_examples=25, deadline=None)
@given(texts=TEXTS, unit=st.sampled_from(["characters", "bytes"]), separator=st.sampled_from([None, " ", "\n--\n"]))
def test_documents_are_decoded_to_their_texts(texts: list[str], unit: Unit, separator: str | None) -> None:
    texts = [*texts, "abנ🙂"]
    with tempfile.TemporaryDirectory() as folder:
        manifest = written_manifest(
            folder, {"train": texts, "val": ["ab"]}, unit=unit, separator=separator, documents_per_shard=2
        )
        documents = list(iter_documents(manifest, "train"))
        assert [document.text for document in documents] == texts
        assert [document.document_id for document in documents] == [f"train-{n}" for n in range(len(texts))]
        assert [document.text for document in iter_documents(manifest, "val")] == ["ab"]
        assert list(iter_documents(manifest, "test")) == []
        if separator is not None:
            reader = IdReader(manifest, "train", cache_dir=Path(folder) / "cache")
            assert manifest.vocabulary.decode(reader.read(0, reader.num_ids)) == separator.join(texts)
            reader.close()


def test_labels_and_categories_are_restored(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, random_shards(5, [[3]], np.uint8))
    rows = [
        {"ids": bytes([5, 1]), "document_id": "a", "label": "4.0", "category": None},
        {"ids": bytes([6, 7, 1]), "document_id": "b", "label": None, "category": "Books"},
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    shard = write_shard(manifest.uri, "val/0.parquet", table, id_dtype=np.dtype(np.uint8))
    splits = {**manifest.splits, "val": Split(shards=(shard,))}
    manifest = Manifest(**{**vars(manifest), "splits": splits})
    documents = list(iter_documents(manifest, "val"))
    assert [(d.document_id, d.label, d.category) for d in documents] == [("a", "4.0", None), ("b", None, "Books")]
    assert [d.text for d in documents] == ["\x03", "\x04\x05"]


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    cuts=st.sets(st.integers(1, 11), max_size=4),
    offset=st.integers(0, 3),
)
def test_a_shard_does_not_depend_on_the_chunks_of_its_table(sizes: list[int], cuts: set[int], offset: int) -> None:
    rows = [
        {"ids": bytes([i] * size), "document_id": str(i), "label": None, "category": None}
        for i, size in enumerate(sizes)
    ]
    whole = pa.Table.from_pylist(rows[offset:], schema=SCHEMA)
    full = pa.Table.from_pylist(rows, schema=SCHEMA)
    edges = [offset, *sorted(cut for cut in cuts if offset < cut < len(rows)), max(offset, len(rows))]
    chunked = pa.concat_tables([full.slice(a, b - a) for a, b in itertools.pairwise(edges)])
    large = pa.schema([("ids", pa.large_binary()), *list(SCHEMA)[1:]])
    with tempfile.TemporaryDirectory() as folder:
        written: list[Shard] = [
            write_shard(folder, "s.parquet", table, id_dtype=np.dtype(np.uint8))
            for table in (whole, chunked, whole.cast(large))
        ]
        assert {(shard.num_ids, shard.num_documents, shard.sha256) for shard in written} == {
            (sum(sizes[offset:]), len(rows[offset:]), written[0].sha256)
        }
        assert written[2].num_bytes == (Path(folder) / "s.parquet").stat().st_size


def test_stored_ids_are_at_most_a_tenth_above_the_characters(tmp_path: Path) -> None:
    texts = ["a review of some thirty letters", "שתי מילים", ""] * 40
    manifest = written_manifest(str(tmp_path), {"train": texts})
    assert manifest.vocabulary.id_dtype == np.uint8
    stored = sum(len(row) for row in pq.read_table(tmp_path / "train")["ids"].to_pylist())
    assert stored <= 1.1 * (sum(map(len, texts)) + len(texts))
    assert stored == manifest.split("train").num_ids == sum(map(len, texts)) + len(texts)
