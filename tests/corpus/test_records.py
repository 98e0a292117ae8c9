"""Every format and compression gives the same records; unreadable rows are rejected and damaged files are errors."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus_helpers import read
from textgen.corpus.cleaning import clean
from textgen.corpus.delimited import Dialect, csv_rows
from textgen.corpus.formats import Record
from textgen.errors import UserError
from textgen.spec import CorpusSpec

ROWS = [('Great, "really"', "5"), ("two\nlines", "1"), ("שלום 😀", "3")]


def as_csv() -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerows(
        [("asin", "reviewText", "overall"), *((f"a{i}", text, f"{label}.0") for i, (text, label) in enumerate(ROWS))]
    )
    return stream.getvalue().encode()


def as_json_lines(text: str, label: str) -> bytes:
    rows = [{"title": "x", text: words, label: float(stars)} for words, stars in ROWS]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_parquet() -> bytes:
    sink = pa.BufferOutputStream()
    texts, labels = zip(*ROWS, strict=True)
    pq.write_table(pa.table({"stars": [int(label) for label in labels], "text": texts}), sink, row_group_size=2)
    return sink.getvalue().to_pybytes()


def zstd(content: bytes) -> bytes:
    """Compresses in two frames, as parallel compressors do."""
    half = len(content) // 2
    return b"".join(pa.compress(part, codec="zstd", asbytes=True) for part in (content[:half], content[half:]))


def zipped(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("__MACOSX/._junk.csv", b"junk")
        archive.writestr("folder/", b"")
        archive.writestr(f"folder/{name}", content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("r.csv", as_csv(), id="csv"),
        pytest.param("r.csv", b"\xef\xbb\xbf" + as_csv(), id="csv-bom"),
        pytest.param("r.json", as_json_lines("reviewText", "overall"), id="json-2018"),
        pytest.param("r.jsonl", as_json_lines("text", "rating"), id="json-2023"),
        pytest.param("r.parquet", as_parquet(), id="parquet"),
    ],
)
@pytest.mark.parametrize("wrapper", ["", ".gz", ".bz2", ".zst", ".zip"])
def test_every_format_gives_the_same_records(tmp_path: Path, name: str, content: bytes, wrapper: str) -> None:
    wrap: Callable[[bytes], bytes] = {
        "": bytes,
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".zst": zstd,
        ".zip": lambda c: zipped(name, c),
    }[wrapper]
    records = read(tmp_path / f"{name}{wrapper}", wrap(content))
    assert [(record.text, record.label) for record in records] == ROWS
    assert [record.reason for record in records] == [None] * 3
    assert len({record.row for record in records}) == 3


def test_amazon_tsv_has_no_quoting(tmp_path: Path) -> None:
    content = 'star_rating\treview_body\tproduct_category\r\n5\t"Great\tGift\r\n1\tsays "no"\tToys\r\n4\tshort\r\n'
    assert read(tmp_path / "r.tsv", content.encode()) == [
        Record(2, '"Great', "5", "Gift"),
        Record(3, 'says "no"', "1", "Toys"),
        Record(4, "4\tshort", reason="columns"),
    ]


@pytest.mark.parametrize(
    ("unit", "records"),
    [
        ("line", [(1, "one"), (2, " two"), (5, "three")]),
        ("paragraph", [(1, "one\n two"), (5, "three")]),
        ("file", [(1, "one\n two\n\n  \nthree\n")]),
    ],
)
def test_plain_text_is_split_by_document_unit(tmp_path: Path, unit: str, records: list[tuple[int, str]]) -> None:
    found = read(tmp_path / "t.txt", b"one\r\n two\r\n\r\n  \r\nthree\r\n", document_unit=unit)
    assert found == [Record(row, text) for row, text in records]


def test_npy_is_read_without_pickle(tmp_path: Path) -> None:
    path = tmp_path / "t.npy"
    np.save(path, np.array(["a", "שלום"]))
    assert read(path, path.read_bytes()) == [Record(1, "a"), Record(2, "שלום")]
    np.save(path, np.array(["a", None], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="pickled objects are never loaded"):
        read(path, path.read_bytes())
    np.save(path, np.zeros((2, 3)))
    with pytest.raises(UserError, match="2-D float64; it must be a 1-D array of str"):
        read(path, path.read_bytes())


LETTERS = ["ש\u05b8לו\u05b9ם 😀", "👩\u200d👩\u200d👧 e\u0301\u0302 🇮🇱", "\u200fמעורב abc\u200e 👍🏽"]
"""Hebrew with points, joined emoji, a letter with two combining marks, a flag, directional marks, a skin tone."""


def as_npy(texts: list[str]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array(texts))
    return stream.getvalue()


def as_archive(texts: list[str]) -> bytes:
    elements = [{"tweet": {"source": "app", "lang": "iw", "full_text": text}} for text in texts]
    return ("window.YTD.tweets.part0 = " + json.dumps(elements, indent=2, ensure_ascii=False)).encode()


def as_bytes_literals(texts: list[str]) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([("id", "text"), *((1, repr(text.encode())) for text in texts)])
    return stream.getvalue().encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("t.npy", as_npy(LETTERS), id="npy"),
        pytest.param("tweets.js", as_archive(LETTERS), id="archive"),
        pytest.param("t.csv", as_bytes_literals(LETTERS), id="bytes-literals"),
        pytest.param("t.jsonl", "".join(json.dumps({"text": t}) + "\n" for t in LETTERS).encode(), id="json-escaped"),
        pytest.param(
            "t.jsonl",
            "".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in LETTERS).encode(),
            id="json-plain",
        ),
        pytest.param("t.txt", "\n".join(LETTERS).encode(), id="text"),
    ],
)
def test_all_alphabets_and_emoji_survive_from_file_to_document(tmp_path: Path, name: str, content: bytes) -> None:
    texts = [record.text for record in read(tmp_path / name, content)]
    spec = CorpusSpec(rules=("bytes_literal", "html", "control", "whitespace"))
    assert clean(pa.table({"text": pa.array(texts, pa.string())}), spec).kept["text"].to_pylist() == LETTERS


def test_only_tweets_are_read_from_a_zipped_archive(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("Your archive.html", b"<html>")
        archive.writestr("data/account.js", b"window.YTD.account.part0 = [ ]")
        archive.writestr("data/tweets.js", as_archive(["one", "two"]))
        archive.writestr("data/tweets-part1.js", as_archive(["three"]))
        archive.writestr("data/tweets_media/1.jpg", b"picture")
    assert read(tmp_path / "twitter-2024.zip", stream.getvalue()) == [
        Record(1, "three", category="iw"),
        Record(2, "one", category="iw"),
        Record(3, "two", category="iw"),
    ]


BOOK = """The Project Gutenberg eBook of Walden

*** START OF THE PROJECT GUTENBERG EBOOK WALDEN ***

\u201cEconomy\u201d

When I wrote
the following pages

*** END OF THE PROJECT GUTENBERG EBOOK WALDEN ***
Licence
"""


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("line", [(5, "“Economy”"), (7, "When I wrote"), (8, "the following pages")]),
        ("paragraph", [(5, "“Economy”"), (7, "When I wrote\nthe following pages")]),
        ("file", [(1, "\n“Economy”\n\nWhen I wrote\nthe following pages\n\n")]),
    ],
)
def test_header_and_licence_of_a_book_are_removed(tmp_path: Path, unit: str, expected: list[tuple[int, str]]) -> None:
    content = BOOK.replace("\n", "\r\n").encode("cp1252")
    found = read(tmp_path / "b.txt", content, encoding="cp1252", document_unit=unit, rules=("book_edges",))
    assert found == [Record(row, text) for row, text in expected]


def test_other_encodings_are_decoded(tmp_path: Path) -> None:
    assert read(tmp_path / "t.txt", "it’s".encode("cp1252"), encoding="cp1252") == [Record(1, "it’s")]
    assert read(tmp_path / "u.txt", "שלום\nb".encode("utf-16"), encoding="utf-16") == [
        Record(1, "שלום"),
        Record(2, "b"),
    ]
    with pytest.raises(UserError, match="is not encoded in utf-16"):
        read(tmp_path / "v.txt", b"\xff\xfea", encoding="utf-16")


def test_bytes_of_parquet_are_text(tmp_path: Path) -> None:
    columns = {"text": [b"caf\xc3\xa9", b"\xe9"], "stars": [b"5", b"4"], "category": [b"Toys", None]}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: pa.array(values, pa.binary()) for name, values in columns.items()}), sink)
    found = read(tmp_path / "r.parquet", sink.getvalue().to_pybytes())
    assert found == [Record(1, "café", "5", "Toys"), Record(2, "\udce9", "4", None)]


@given(st.lists(st.lists(st.text(), min_size=2, max_size=3), max_size=6))
def test_csv_rows_come_back_with_their_lines(rows: list[list[str]]) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=csv.QUOTE_ALL).writerows(rows)
    wrapped = io.TextIOWrapper(
        io.BytesIO(stream.getvalue().encode("utf-8", "surrogatepass")), "utf-8", "surrogatepass", newline=""
    )
    found = list(csv_rows(wrapped, Dialect(delimiter=",", quotes="csv")))
    assert [fields for _, fields in found] == rows
    assert [number for number, _ in found] == sorted({number for number, _ in found})


def test_a_file_without_header_is_read_by_position(tmp_path: Path) -> None:
    assert read(tmp_path / "r.csv", b'"0","x","good"\n"4","y","bad"\n', text_column="2", label_column="0") == [
        Record(1, "good", "0"),
        Record(2, "bad", "4"),
    ]


def test_row_numbers_continue_across_the_members_of_a_zip(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("b.txt", "three")
        archive.writestr("a.txt", "one\ntwo")
    assert read(tmp_path / "t.zip", stream.getvalue()) == [Record(1, "one"), Record(2, "two"), Record(3, "three")]


def damaged_parquet() -> bytes:
    return as_parquet()[:-20] + b"PAR1"


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    for name in ("r.csv", "r.tsv", "r.jsonl", "r.txt", "r.parquet"):
        assert read(tmp_path / name, b"") == []
