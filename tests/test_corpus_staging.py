"""Groups of files -> sorted chunks, with every record accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from textgen import storage
from textgen.corpus import staging
from textgen.corpus.sources import SourceFile, resolve
from textgen.corpus.splitting import EVERY_KEY
from textgen.corpus.staging import Chunk, groups, read_documents, sort_by_key, stage_group, staged_chunks
from textgen.errors import UserError
from textgen.spec import CorpusSpec


def write(folder: Path, **contents: str | bytes) -> list[SourceFile]:
    for name, content in contents.items():
        path = folder / "in" / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return list(resolve([str(folder / "in")]))


def stage(
    folder: Path, files: list[SourceFile], spec: CorpusSpec | None = None, chunk_bytes: int = 10**6
) -> list[Chunk]:
    output = str(folder / "out")
    chunks = list(stage_group(files, spec or CorpusSpec(), output=output, group=0, chunk_bytes=chunk_bytes))
    assert chunks == staged_chunks(output, 0)
    return chunks


def test_small_files_are_grouped_and_large_ones_stand_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "GROUP_BYTES", 10)
    monkeypatch.setattr(staging, "GROUP_FILES", 3)
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


def test_chunks_are_bounded_sorted_and_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"line {number}" for number in range(700)]
    files = write(tmp_path, a="\n".join(lines[:450]), b="\n".join(lines[450:]))
    monkeypatch.setattr(staging, "BATCH_CHARS", 2000)
    monkeypatch.setattr(staging, "ROW_GROUP_BYTES", 1000)
    chunks = stage(tmp_path, files, chunk_bytes=10_000)
    assert len(chunks) > 3
    assert max(chunk.weight_bytes for chunk in chunks) < 14_000
    assert sum(chunk.records for chunk in chunks) == sum(chunk.documents for chunk in chunks) == 700
    assert sum(chunk.source_bytes for chunk in chunks) == sum(file.size_bytes for file in files)
    names = [chunk.name for chunk in chunks if chunk.name]
    for name in names:
        keys = read_documents(str(tmp_path / "out"), [name], EVERY_KEY)["key"].to_pylist()
        assert keys == sorted(keys)
    found = []
    for part in EVERY_KEY.parts(7):
        documents = sort_by_key(read_documents(str(tmp_path / "out"), names, part))
        assert all(part.start <= key < part.stop for key in documents["key"].to_pylist())
        found += documents.to_pylist()
    assert sorted(row["text"] for row in found) == sorted(lines)
    assert {(row["file"], row["row"]) for row in found} == {(i // 450, i % 450 + 1) for i in range(700)}


def test_of_duplicates_the_first_by_file_and_row_stays(tmp_path: Path) -> None:
    files = write(tmp_path, a="x\ny\nX", b="y\nz")
    (chunk,) = stage(tmp_path, files)
    assert (chunk.records, chunk.documents, chunk.duplicates) == (5, 3, 2)
    rows = read_documents(str(tmp_path / "out"), [chunk.name], EVERY_KEY).to_pylist()
    assert {(row["text"], row["file"], row["row"]) for row in rows} == {("x", 0, 1), ("y", 0, 2), ("z", 1, 2)}


def test_duplicates_stay_where_the_spec_keeps_them(tmp_path: Path) -> None:
    (chunk,) = stage(tmp_path, write(tmp_path, a="x\nx"), CorpusSpec(deduplicate=False))
    assert (chunk.documents, chunk.duplicates) == (2, 0)


def test_rejected_rows_are_written_with_file_row_reason_and_excerpt(tmp_path: Path) -> None:
    files = write(tmp_path, a=b"fine\n<br />\n\xff" + b"x" * 900)
    (chunk,) = stage(tmp_path, files, CorpusSpec(encoding_errors="reject"))
    assert (chunk.records, chunk.documents) == (3, 1)
    assert chunk.rejected_by_reason == {"empty": 1, "encoding": 1}
    (written,) = storage.list_files(str(tmp_path / "out" / "rejected"))
    rows = [json.loads(line) for line in storage.read_bytes(written.uri).decode().splitlines()]
    assert {(row["file"], row["row"], row["reason"]) for row in rows} == {
        (files[0].uri, 2, "empty"),
        (files[0].uri, 3, "encoding"),
    }
    assert next(row["excerpt"] for row in rows if row["row"] == 3).startswith("\\udcff" + "x" * 100)
    assert max(len(row["excerpt"]) for row in rows) < 300


def test_bytes_of_another_encoding_end_the_job_with_line_and_setting(tmp_path: Path) -> None:
    files = write(tmp_path, a=b"fine\nit\x92s")
    with pytest.raises(UserError, match=r"a\.txt, line 2: the byte 0x92 .* --set corpus\.encoding=cp1252"):
        stage(tmp_path, files)
    assert not storage.exists(staging.marker_uri(str(tmp_path / "out"), 0))


def test_a_lone_surrogate_of_json_is_rejected_and_no_encoding_error(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"text": "half \\ud83d"}\n{"text": "whole \\ud83d\\ude00"}\n')
    (chunk,) = stage(tmp_path, list(resolve([str(path)])))
    assert (chunk.documents, chunk.rejected_by_reason) == (1, {"surrogate": 1})


def test_a_group_without_documents_leaves_a_marker(tmp_path: Path) -> None:
    (chunk,) = stage(
        tmp_path, write(tmp_path, a="no", b=" "), CorpusSpec(rules=("drop_containing",), drop_containing=("no",))
    )
    assert (chunk.name, chunk.records, chunk.dropped_by_rule) == ("", 1, {"drop_containing": 1})


def test_records_of_other_categories_are_counted_as_dropped(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("text,source\none,imdb\ntwo,rt\nthree,imdb\none,imdb\nfour,\n,rt\n")
    (chunk,) = stage(tmp_path, list(resolve([str(path)])), CorpusSpec(keep_categories=("imdb",)))
    assert (chunk.records, chunk.documents, chunk.duplicates) == (6, 2, 1)
    assert (chunk.dropped_by_rule, chunk.rejected_by_reason) == ({"keep_categories": 3}, {})


def test_marks_change_neither_the_key_of_a_document_nor_what_repeats_it(tmp_path: Path) -> None:
    text = "The CAT sat.....\nA dog in 1984\nThe CAT sat.....\nthe cat sat....."
    keys = []
    marks = ("mark_numbers", "mark_all_capitals", "mark_capitals", "mark_repeats")
    for name, rules in (("plain", ()), ("marked", marks)):
        (tmp_path / name).mkdir()
        (chunk,) = stage(tmp_path / name, write(tmp_path / name, a=text), CorpusSpec(rules=rules))
        assert chunk.duplicates == 1
        documents = read_documents(str(tmp_path / name / "out"), [chunk.name], EVERY_KEY)
        keys.append(documents["key"].to_pylist())
        assert ("The CAT sat....." in documents["text"].to_pylist()) == (name == "plain")
    assert keys[0] == keys[1]
