"""Rows of files: where lines end, what packs them, what a row may be."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textgen import storage
from textgen.batch.rows import END, InputFile, input_files
from textgen.errors import UserError

TEXT = "\ufeffone\r\ntwo\u2028and\x85more\n \n\nthr\rée\x0b\x1c\nno end"
LINES = [(1, "one"), (2, "two\u2028and\x85more"), (5, "thr\rée\x0b\x1c"), (6, "no end")]


def file_at(path: Path) -> InputFile:
    (found,) = storage.list_files(str(path))
    return InputFile(uri=found.uri, size_bytes=found.size_bytes, version=found.version)


def rows(path: Path) -> list[tuple[int, Any]]:
    file = file_at(path)
    parsed = [(number, file.parsed(raw)) for number, raw in enumerate(file.rows(0, END), start=1)]
    return [(number, values) for number, values in parsed if values is not None]


@pytest.mark.parametrize("pack", [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_only_a_line_feed_ends_a_line(tmp_path: Path, pack: Any) -> None:
    ending, packed = pack
    path = tmp_path / f"prompts.txt{ending}"
    path.write_bytes(packed(TEXT.encode()))
    assert rows(path) == [(number, {"text": text}) for number, text in LINES]


def test_json_lines_and_parquet_hold_values_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a\\nb", "id": 3}\n\n{"text": ""}')
    assert rows(tmp_path / "a.jsonl") == [(1, {"prompt": "a\nb", "id": 3}), (3, {"text": ""})]
    table = pa.table(
        {
            "prompt": ["a", None, "b\n"],
            "condition": [{"stars": 5, "kind": None}, None, {"stars": None, "kind": "x"}],
            "top_k": [None, 3, None],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    assert rows(tmp_path / "a.parquet") == [
        (1, {"prompt": "a", "condition": {"stars": 5}}),
        (2, {"top_k": 3}),
        (3, {"prompt": "b\n", "condition": {"kind": "x"}}),
    ]


def test_parquet_is_read_from_any_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [str(number) for number in range(11)]}), tmp_path / "a.parquet", row_group_size=4)
    file = file_at(tmp_path / "a.parquet")
    for start in range(11):
        for stop in range(start, 12):
            found = [(raw.position, raw.content["text"]) for raw in file.rows(start, stop)]
            assert found == [(number, str(number)) for number in range(start, min(stop, 11))]


@pytest.mark.parametrize(
    ("line", "message"), [(b"caf\xe9", "not UTF-8"), (b'["a"]', "not a JSON object"), (b'{"a": 1', "not a JSON object")]
)
def test_what_no_row_is_is_refused(tmp_path: Path, line: bytes, message: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(line)
    with pytest.raises(UserError, match=message):
        rows(tmp_path / "a.jsonl")


@pytest.mark.parametrize("name", ["a.csv", "a.txt.zst", "a.parquet.gz", "a.tar.gz", "a.npy", "a.zip", "tweets.js"])
def test_other_formats_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(UserError, match=f"{name}; it reads JSON lines"):
        input_files([str(tmp_path / name)], output=str(tmp_path / "out"), say=lambda _: None)
    with pytest.raises(UserError, match="movie-reviews; it reads JSON lines"):
        input_files(["movie-reviews"], output=str(tmp_path / "out"), say=lambda _: None)


def test_files_stand_in_the_order_of_their_names_without_the_output(tmp_path: Path) -> None:
    for name in ("b.txt", "a.jsonl", "out/completions/part-000000.jsonl", "_SUCCESS"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}\n")
    found = input_files([str(tmp_path)], output=str(tmp_path / "out"), say=lambda _: None)
    assert [Path(file.uri).name for file in found] == ["a.jsonl", "b.txt"]


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.bz2", "a.txt.xz", "a.parquet"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    packed = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}.get(name[6:], lambda text: text)
    content = packed(json.dumps(list(range(9999))).encode())
    for broken in (content[: len(content) // 2], b"no such thing"):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(UserError, match=name):
            rows(tmp_path / name)


def test_a_file_that_has_changed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a")
    file = file_at(path)
    file.check_unchanged()
    path.write_text("ab")
    with pytest.raises(UserError, match=r"a\.txt has changed since this batch began"):
        file.check_unchanged()
