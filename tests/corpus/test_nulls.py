"""Missing values are neither texts nor labels, in any format."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.corpus_helpers import read
from textgen.corpus.formats import Record
from textgen.corpus.nulls import is_missing_text, is_null
from textgen.corpus.schema import value_text

MISSING = ["null", "NULL", "NaN", "nan", "None", "NaT", "<NA>"]


@pytest.mark.parametrize(("name", "delimiter"), [("r.csv", ","), ("r.tsv", "\t"), ("r.csv", ";")])
def test_in_tables(tmp_path: Path, name: str, delimiter: str) -> None:
    rows = [("review", "rating"), *((word, "5") for word in MISSING), *((f"good {word}", word) for word in MISSING)]
    found = read(tmp_path / name, "\n".join(delimiter.join(row) for row in rows).encode())
    assert [record.reason for record in found] == ["no_text"] * len(MISSING) + [None] * len(MISSING)
    assert [record.label for record in found] == ["5"] * len(MISSING) + [None] * len(MISSING)
    assert found[0].text == MISSING[0]


def test_in_json_and_python(tmp_path: Path) -> None:
    values = [None, math.nan, *MISSING]
    rows = [{"review": value, "rating": 4} for value in values] + [{"review": "x", "rating": value} for value in values]
    for content in ("\n".join(map(json.dumps, rows)), json.dumps(rows), "\n".join(map(repr, rows))):
        found = read(tmp_path / "r.json", content.encode())
        assert [(r.reason, r.label) for r in found] == [("no_text", "4")] * len(values) + [(None, None)] * len(values)


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (pa.array(["a", None, "nan", "None"]), pa.array([1.0, math.nan, None, 2.0])),
        (pa.array([1.5, math.nan, None, math.nan]), pa.array(["x", "None", "NaN", None])),
        (
            pa.array([datetime.date(2020, 1, 1), None, None, None]),
            pa.array([decimal.Decimal("3"), None, None, None], pa.decimal128(5, 0)),
        ),
        (pa.array([b"a", None, b"NaT", b"<NA>"], pa.binary()), pa.array([True, None, None, None])),
    ],
)
def test_in_parquet(tmp_path: Path, texts: pa.Array, labels: pa.Array) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": texts, "label": labels}), sink)
    found = read(tmp_path / "r.parquet", sink.getvalue().to_pybytes())
    assert [record.reason for record in found] == [None, "no_text", "no_text", "no_text"]
    assert [record.label for record in found][1:3] == [None, None]


def test_in_an_array(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array(["a", "nan", "None", "nan is a bread"]))
    assert [record.reason for record in read(tmp_path / "r.npy", stream.getvalue())] == [
        None,
        "no_text",
        "no_text",
        None,
    ]


def test_text_written_by_people_is_not_missing(tmp_path: Path) -> None:
    texts = ["none", "None.", "Nan", "Null", "null and void", "N/A", "NA", "NONE", "nan nan"]
    content = "review,rating\n" + "".join(f"{text},1\n" for text in texts)
    assert [(r.text, r.reason) for r in read(tmp_path / "r.csv", content.encode())] == [(t, None) for t in texts]
    assert not any(map(is_missing_text, texts))
    assert read(tmp_path / "r.txt", b"None\nnull\n") == [Record(1, "None"), Record(2, "null")]
    tweets = 'window.YTD.tweets.part0 = [ {"full_text": "null"}, {"full_text": null} ]'
    assert [record.reason for record in read(tmp_path / "tweets.js", tweets.encode())] == [None, "no_text"]


@pytest.mark.parametrize(
    "value", ["N/A", "n/a", "#N/A", "", "nan", None, math.nan, np.float32("nan"), decimal.Decimal("NaN")]
)
def test_missing_labels(value: object) -> None:
    assert value_text(value) is None


def test_numbers_are_not_null() -> None:
    assert [value_text(value) for value in (0, 0.0, False, "0", "NA", "none")] == ["0", "0", "False", "0", "NA", "none"]
    assert not any(map(is_null, (0, "", False, math.inf, [], {})))
