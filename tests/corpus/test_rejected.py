"""Malformed rows are rejected, and unreadable files are errors."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pytest

from tests.corpus.test_records import as_csv, damaged_parquet, zipped, zstd
from tests.corpus_helpers import read
from textgen.corpus.formats import Record
from textgen.errors import UserError


def test_elements_of_an_archive_that_are_not_tweets_are_rejected(tmp_path: Path) -> None:
    content = b'window.YTD.tweet.part0 = [ {"full_text": "one"}, 7, {"tweet": {"id": "1"}} ]'
    found = read(tmp_path / "anything", content, format="twitter_archive")
    assert [(record.row, record.reason) for record in found] == [(1, None), (2, "malformed"), (3, "no_text")]
    with pytest.raises(UserError, match=r"no column of .* is recognised as text"):
        read(tmp_path / "tweet.js", b'window.YTD.tweet.part0 = [ {"id": "1"} ]')


def test_malformed_json_lines_are_rejected(tmp_path: Path) -> None:
    lines = ['{"text": "a", "rating": 2}', "{broken", "[1]", "", '{"rating": 3}', '{"text": 7}', '{"text": ["x"]}']
    found = read(tmp_path / "r.jsonl", "\n".join(lines).encode())
    assert [(record.row, record.reason) for record in found] == [
        (1, None),
        (2, "malformed"),
        (3, "malformed"),
        (5, "no_text"),
        (6, None),
        (7, "no_text"),
    ]
    assert (found[1].text, found[4].text) == ("{broken\n", "7")


def test_rows_of_other_widths_are_rejected(tmp_path: Path) -> None:
    found = read(tmp_path / "r.csv", b'text,label\na,1\n\nb,c,2\nd\n"e\nf",3\n')
    assert found == [
        Record(2, "a", "1"),
        Record(4, "b,c,2", reason="columns"),
        Record(5, "d", reason="columns"),
        Record(6, "e\nf", "3"),
    ]


def test_an_unclosed_quote_rejects_each_line(tmp_path: Path) -> None:
    found = read(tmp_path / "r.csv", b'text,label\na,1\n"b,2\nc,3\nd,4\n')
    assert found == [
        Record(2, "a", "1"),
        Record(3, '"b,2\n', reason="unclosed_quote"),
        Record(4, "c,3\n", reason="unclosed_quote"),
        Record(5, "d,4\n", reason="unclosed_quote"),
    ]


def test_a_quote_closed_in_a_later_row_does_not_join_rows(tmp_path: Path) -> None:
    found = read(tmp_path / "r.csv", b'text,label\n"bad quote,1\nfine,2\n"x",3\ngood,4\n')
    assert [(record.row, record.reason) for record in found] == [
        (2, "malformed"),
        (3, "malformed"),
        (4, "malformed"),
        (5, None),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("r.csv.gz", gzip.compress(as_csv() * 200)[:-30], id="gzip"),
        pytest.param("r.csv.bz2", bz2.compress(as_csv() * 200)[:-30], id="bzip2"),
        pytest.param("r.csv.bz2", bz2.compress(as_csv() * 200)[:40] + bytes(100), id="bzip2, corrupt in the middle"),
        pytest.param("r.csv.zst", zstd(as_csv() * 200)[:-30], id="zstd"),
        pytest.param("r.csv.zst", zstd(as_csv() * 200) + b"more", id="zstd with trailing bytes"),
        pytest.param("r.csv.zip", zipped("r.csv", as_csv())[:-30], id="zip"),
        pytest.param("r.parquet", damaged_parquet(), id="parquet"),
    ],
)
def test_damaged_files_are_errors(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(UserError, match=f"{name} is truncated or damaged .*; download it again, or remove it"):
        read(tmp_path / name, content)


def test_undecodable_and_encrypted_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"r\.csv is not encoded in utf-16 \(.*BOM\); set the right encoding"):
        read(tmp_path / "r.csv", b"text\nabc\n", encoding="utf-16")
    content = bytearray(zipped("r.csv", as_csv()))
    for name, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # Bit 0 of the flags: encrypted.
        content[content.rindex(name) + flags] |= 1
    with pytest.raises(UserError, match=r"r\.csv\.zip cannot be unpacked \(.*password.*\); unpack it first"):
        read(tmp_path / "r.csv.zip", bytes(content))


def test_an_unknown_suffix_is_an_error_unless_the_format_is_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus\.format=jsonl"):
        read(tmp_path / "notes.doc", b"words")
    assert read(tmp_path / "notes.doc", b"words", format="text") == [Record(1, "words")]
