"""Staging of groups of files to sorted chunks, with every record accounted for."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pyarrow as pa
import pytest

from textgen import storage
from textgen.corpus.sources import SourceFile, resolve
from textgen.corpus.splitting import EVERY_KEY, sort_by_key
from textgen.errors import UserError
from textgen.ingest import grouping, staging
from textgen.ingest.exchange import Layout, Part, Slice, read_parts
from textgen.ingest.grouping import batches, groups
from textgen.ingest.staging import STAGED, Batch, Chunk, stage_batch, staged_batch
from textgen.spec import CorpusSpec


def write(folder: Path, **contents: str | bytes) -> list[SourceFile]:
    for name, content in contents.items():
        path = folder / "in" / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return list(resolve([str(folder / "in")]))


def stage(
    folder: Path,
    files: list[SourceFile],
    spec: CorpusSpec | None = None,
    *,
    chunk_bytes: int = 10**6,
    layout: Layout | None = None,
    num_groups: int = 1,
) -> list[Chunk]:
    """Stages the files as one batch with the given number of groups."""
    output = str(folder / "out")
    edges = [len(files) * number // num_groups for number in range(num_groups + 1)]
    chunks = list(
        stage_batch(
            [files[start:stop] for start, stop in itertools.pairwise(edges)],
            spec or CorpusSpec(),
            output=output,
            batch=0,
            first_group=7,
            layout=layout or Layout.of(1),
            chunk_bytes=chunk_bytes,
        )
    )
    assert chunks == staged_batch(output, 0).chunks
    return chunks


def documents_of(folder: Path, *parts: Part) -> list[pa.Table]:
    """Returns the staged documents of each part, or all documents."""
    output = str(folder / "out")
    slices = [Slice(name=run.name, start=0, stop=run.num_bytes) for run in staged_batch(output, 0).runs]
    return list(read_parts(output, slices, parts or [Part()], STAGED))


def test_small_files_are_grouped_and_large_files_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "GROUP_BYTES", 10)
    monkeypatch.setattr(grouping, "GROUP_FILES", 3)
    sizes = [0, 4, 6, 1, 25, 2, 0, 0, 0, 9, 2]
    files = [SourceFile(index=index, uri=str(index), size_bytes=size, version="") for index, size in enumerate(sizes)]
    assert [[file.size_bytes for file in group] for group in groups(files)] == [
        [0, 4, 6],
        [1],
        [25],
        [2, 0, 0],
        [0, 9],
        [2],
    ]


def test_groups_are_combined_to_batches_of_about_the_size_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "MIN_FILE_BYTES", 2)
    names = ["a", "b", "c.gz", "d", "e", "f"]
    sizes = [30, 0, 20, 21, 80, 15]  # Estimated as 30, 2, 80, 21, 80 and 15 bytes.
    grouped = [
        [SourceFile(index=index, uri=name, size_bytes=size, version="")]
        for index, (name, size) in enumerate(zip(names, sizes, strict=True))
    ]
    cut = batches(grouped, Layout(run_bytes=100, num_buckets=8))
    assert [[group[0].uri for group in batch] for batch in cut] == [["a", "b", "c.gz"], ["d", "e"], ["f"]]
    assert [group for batch in cut for group in batch] == grouped


@pytest.mark.parametrize(("run_bytes", "num_runs"), [(10**6, 1), (3_000, 4)])
@pytest.mark.parametrize("num_buckets", [1, 5, 64])
def test_chunks_are_bounded_sorted_and_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_bytes: int, num_runs: int, num_buckets: int
) -> None:
    lines = [f"line {number}" for number in range(700)]
    files = write(tmp_path, a="\n".join(lines[:450]), b="\n".join(lines[450:]))
    monkeypatch.setattr(staging, "BATCH_CHARS", 2000)
    layout = Layout(run_bytes=run_bytes, num_buckets=num_buckets)
    chunks = stage(tmp_path, files, chunk_bytes=10_000, layout=layout, num_groups=2)
    assert len(chunks) > 3
    assert max(chunk.weight_bytes for chunk in chunks) < 14_000
    assert sum(chunk.records for chunk in chunks) == sum(chunk.documents for chunk in chunks) == 700
    assert sum(chunk.source_bytes for chunk in chunks) == sum(file.size_bytes for file in files)
    runs = staged_batch(str(tmp_path / "out"), 0).runs
    assert len(runs) >= num_runs
    assert sum(run.weight_bytes for run in runs) == sum(chunk.weight_bytes for chunk in chunks)
    assert [run.first_chunk for run in runs[1:]] == [run.stop_chunk for run in runs[:-1]]
    for run in runs:
        size = (tmp_path / "out" / run.name).stat().st_size
        assert (run.offsets[0], run.num_bytes, len(run.offsets)) == (0, size, num_buckets + 1)
    found = []
    ranges = EVERY_KEY.parts(7)
    for keys, table in zip(ranges, documents_of(tmp_path, *(Part(keys=keys) for keys in ranges)), strict=True):
        documents = sort_by_key(table)
        assert all(keys.start <= key < keys.stop for key in documents["key"].to_pylist())
        found += documents.to_pylist()
    assert sorted(row["text"] for row in found) == sorted(lines)
    assert {(row["file"], row["row"]) for row in found} == {(i // 450, i % 450 + 1) for i in range(700)}
    assert [row["chunk"] for row in sorted(found, key=lambda row: (row["file"], row["row"]))] == [
        number for number, chunk in enumerate(chunks) for _ in range(chunk.documents)
    ]


def test_a_batch_is_restored_from_its_marker(tmp_path: Path) -> None:
    stage(tmp_path, write(tmp_path, a="x\ny\nX", b="y\nz"), num_groups=2)
    staged = staged_batch(str(tmp_path / "out"), 0)
    assert len(staged.chunks) == 2
    assert len(staged.lowest_keys) == len(set(staged.lowest_keys)) == 3  # The keys of x, y and z.
    assert Batch.from_dict(json.loads(json.dumps(staged.to_dict()))) == staged


def test_the_first_duplicate_by_file_and_row_is_kept(tmp_path: Path) -> None:
    files = write(tmp_path, a="x\ny\nX", b="y\nz")
    (chunk,) = stage(tmp_path, files)
    assert (chunk.records, chunk.documents, chunk.duplicates) == (5, 3, 2)
    rows = documents_of(tmp_path)[0].to_pylist()
    assert {(row["text"], row["file"], row["row"]) for row in rows} == {("x", 0, 1), ("y", 0, 2), ("z", 1, 2)}


def test_duplicates_are_kept_without_deduplicate(tmp_path: Path) -> None:
    (chunk,) = stage(tmp_path, write(tmp_path, a="x\nx"), CorpusSpec(deduplicate=False))
    assert (chunk.documents, chunk.duplicates) == (2, 0)


def test_rejected_rows_are_written_with_file_row_reason_and_excerpt(tmp_path: Path) -> None:
    files = write(tmp_path, a=b"fine\n<br />\n\xff" + b"x" * 900)
    (chunk,) = stage(tmp_path, files, CorpusSpec(encoding_errors="reject"))
    assert (chunk.records, chunk.documents) == (3, 1)
    assert chunk.rejected_by_reason == {"empty": 1, "encoding": 1}
    (written,) = storage.list_files(str(tmp_path / "out" / "rejected"))
    assert written.uri.endswith("/00007-00000.jsonl")  # By group and chunk.
    rows = [json.loads(line) for line in storage.read_bytes(written.uri).decode().splitlines()]
    assert {(row["file"], row["row"], row["reason"]) for row in rows} == {
        (files[0].uri, 2, "empty"),
        (files[0].uri, 3, "encoding"),
    }
    assert next(row["excerpt"] for row in rows if row["row"] == 3).startswith("\\udcff" + "x" * 100)
    assert max(len(row["excerpt"]) for row in rows) < 300


def test_invalid_bytes_are_an_error_that_names_line_and_setting(tmp_path: Path) -> None:
    files = write(tmp_path, a=b"fine\nit\x92s")
    with pytest.raises(UserError, match=r"a\.txt, line 2: the byte 0x92 .* --set corpus\.encoding=cp1252"):
        stage(tmp_path, files)
    assert not storage.exists(staging.marker_uri(str(tmp_path / "out"), 0))


def test_a_lone_surrogate_from_json_is_rejected_without_an_encoding_error(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"text": "half \\ud83d"}\n{"text": "whole \\ud83d\\ude00"}\n')
    (chunk,) = stage(tmp_path, list(resolve([str(path)])))
    assert (chunk.documents, chunk.rejected_by_reason) == (1, {"surrogate": 1})


def test_a_group_without_documents_has_a_marker(tmp_path: Path) -> None:
    (chunk,) = stage(
        tmp_path, write(tmp_path, a="no", b=" "), CorpusSpec(rules=("drop_containing",), drop_containing=("no",))
    )
    assert (chunk.documents, chunk.records, chunk.dropped_by_rule) == (0, 1, {"drop_containing": 1})
    assert staged_batch(str(tmp_path / "out"), 0).runs == []


def test_records_of_other_categories_are_counted_as_dropped(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("text,source\none,imdb\ntwo,rt\nthree,imdb\none,imdb\nfour,\n,rt\n")
    (chunk,) = stage(tmp_path, list(resolve([str(path)])), CorpusSpec(keep_categories=("imdb",)))
    assert (chunk.records, chunk.documents, chunk.duplicates) == (6, 2, 1)
    assert (chunk.dropped_by_rule, chunk.rejected_by_reason) == ({"keep_categories": 3}, {})


def test_marks_change_neither_keys_nor_duplicates(tmp_path: Path) -> None:
    text = "The CAT sat.....\nA dog in 1984\nThe CAT sat.....\nthe cat sat....."
    keys = []
    marks = ("mark_numbers", "mark_all_capitals", "mark_capitals", "mark_repeats")
    for name, rules in (("plain", ()), ("marked", marks)):
        (tmp_path / name).mkdir()
        (chunk,) = stage(tmp_path / name, write(tmp_path / name, a=text), CorpusSpec(rules=rules))
        assert chunk.duplicates == 1
        (documents,) = documents_of(tmp_path / name)
        keys.append(sorted(documents["key"].to_pylist()))
        assert ("The CAT sat....." in documents["text"].to_pylist()) == (name == "plain")
    assert keys[0] == keys[1]
