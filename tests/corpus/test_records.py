"""Every format and wrapper gives the same records; what cannot be read is named, damaged files are errors."""

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
    """Packs in two frames, as parallel packers write them."""
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


def test_amazon_tsv_knows_no_quotes(tmp_path: Path) -> None:
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
def test_plain_text_is_cut_as_the_spec_says(tmp_path: Path, unit: str, records: list[tuple[int, str]]) -> None:
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
"""Hebrew with points, a family of joined emoji, a letter with two marks, a flag, marks of direction, a skin tone."""


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
def test_every_alphabet_and_emoji_pass_whole_from_file_to_document(tmp_path: Path, name: str, content: bytes) -> None:
    texts = [record.text for record in read(tmp_path / name, content)]
    spec = CorpusSpec(rules=("bytes_literal", "html", "control", "whitespace"))
    assert clean(pa.table({"text": pa.array(texts, pa.string())}), spec).kept["text"].to_pylist() == LETTERS


def test_of_an_archive_as_a_zip_the_tweets_alone_are_read(tmp_path: Path) -> None:
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


def test_elements_of_an_archive_that_are_no_tweets_are_kept_apart(tmp_path: Path) -> None:
    content = b'window.YTD.tweet.part0 = [ {"full_text": "one"}, 7, {"tweet": {"id": "1"}} ]'
    found = read(tmp_path / "anything", content, format="twitter_archive")
    assert [(record.row, record.reason) for record in found] == [(1, None), (2, "malformed"), (3, "no_text")]
    with pytest.raises(UserError, match=r"no column of .* is known to hold text"):
        read(tmp_path / "tweet.js", b'window.YTD.tweet.part0 = [ {"id": "1"} ]')


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
def test_the_edges_of_a_book_are_no_documents(tmp_path: Path, unit: str, expected: list[tuple[int, str]]) -> None:
    content = BOOK.replace("\n", "\r\n").encode("cp1252")
    found = read(tmp_path / "b.txt", content, encoding="cp1252", document_unit=unit, rules=("book_edges",))
    assert found == [Record(row, text) for row, text in expected]


def test_other_encodings_are_decoded(tmp_path: Path) -> None:
    assert read(tmp_path / "t.txt", "it’s".encode("cp1252"), encoding="cp1252") == [Record(1, "it’s")]
    assert read(tmp_path / "u.txt", "שלום\nb".encode("utf-16"), encoding="utf-16") == [
        Record(1, "שלום"),
        Record(2, "b"),
    ]
    with pytest.raises(UserError, match="is not of the encoding utf-16"):
        read(tmp_path / "v.txt", b"\xff\xfea", encoding="utf-16")


def test_json_lines_that_are_none_are_kept_apart(tmp_path: Path) -> None:
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


def test_rows_of_other_widths_are_kept_apart(tmp_path: Path) -> None:
    found = read(tmp_path / "r.csv", b'text,label\na,1\n\nb,c,2\nd\n"e\nf",3\n')
    assert found == [
        Record(2, "a", "1"),
        Record(4, "b,c,2", reason="columns"),
        Record(5, "d", reason="columns"),
        Record(6, "e\nf", "3"),
    ]


def test_a_quote_that_never_closes_swallows_no_line_unseen(tmp_path: Path) -> None:
    found = read(tmp_path / "r.csv", b'text,label\na,1\n"b,2\nc,3\nd,4\n')
    assert found == [
        Record(2, "a", "1"),
        Record(3, '"b,2\n', reason="unclosed_quote"),
        Record(4, "c,3\n", reason="unclosed_quote"),
        Record(5, "d,4\n", reason="unclosed_quote"),
    ]


def test_a_quote_that_a_later_row_closes_joins_no_rows(tmp_path: Path) -> None:
    found = read(tmp_path / "r.csv", b'text,label\n"bad quote,1\nfine,2\n"x",3\ngood,4\n')
    assert [(record.row, record.reason) for record in found] == [
        (2, "malformed"),
        (3, "malformed"),
        (4, "malformed"),
        (5, None),
    ]


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


def test_rows_go_on_counting_over_the_members_of_a_zip(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("b.txt", "three")
        archive.writestr("a.txt", "one\ntwo")
    assert read(tmp_path / "t.zip", stream.getvalue()) == [Record(1, "one"), Record(2, "two"), Record(3, "three")]


def damaged_parquet() -> bytes:
    return as_parquet()[:-20] + b"PAR1"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("r.csv.gz", gzip.compress(as_csv() * 200)[:-30], id="gzip"),
        pytest.param("r.csv.bz2", bz2.compress(as_csv() * 200)[:-30], id="bzip2"),
        pytest.param("r.csv.bz2", bz2.compress(as_csv() * 200)[:40] + bytes(100), id="bzip2, wrong within"),
        pytest.param("r.csv.zst", zstd(as_csv() * 200)[:-30], id="zstd"),
        pytest.param("r.csv.zst", zstd(as_csv() * 200) + b"more", id="zstd with more behind"),
        pytest.param("r.csv.zip", zipped("r.csv", as_csv())[:-30], id="zip"),
        pytest.param("r.parquet", damaged_parquet(), id="parquet"),
    ],
)
def test_damaged_files_are_explained(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(UserError, match=f"{name} is cut off or damaged .*; fetch it again, or leave it out"):
        read(tmp_path / name, content)


def test_what_cannot_be_unpacked_or_decoded_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"r\.csv is not of the encoding utf-16 \(.*BOM\); set the right one"):
        read(tmp_path / "r.csv", b"text\nabc\n", encoding="utf-16")
    content = bytearray(zipped("r.csv", as_csv()))
    for name, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # Bit 0 of the flags says that there is a password.
        content[content.rindex(name) + flags] |= 1
    with pytest.raises(UserError, match=r"r\.csv\.zip cannot be unpacked here \(.*password.*\); unpack it first"):
        read(tmp_path / "r.csv.zip", bytes(content))


def test_an_unknown_ending_is_explained_and_overruled(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus\.format=jsonl"):
        read(tmp_path / "notes.doc", b"words")
    assert read(tmp_path / "notes.doc", b"words", format="text") == [Record(1, "words")]


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    for name in ("r.csv", "r.tsv", "r.jsonl", "r.txt", "r.parquet"):
        assert read(tmp_path / name, b"") == []
