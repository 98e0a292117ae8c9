"""Folders whose names give the value of a column."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.corpus.test_archives import tar_of, zip_of
from tests.corpus_helpers import how, read, read_with_report
from textgen.corpus.schema import partitions_of
from textgen.errors import UserError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/product_category=Books/part-0.parquet", {"product_category": "Books"}),
        ("s3://b/year=2014/label=5/x.csv", {"year": "2014", "label": "5"}),
        ("c=Home%20%26%20Garden%2F1/x", {"c": "Home & Garden/1"}),
        ("c=__HIVE_DEFAULT_PARTITION__/x", {"c": None}),
        ("c=/x", {"c": None}),
        ("c=a=b/x", {"c": "a=b"}),
        ("/a/no/x=1.csv", {}),
        ("/a/=b/1=2/x", {}),
    ],
)
def test_folder_names_give_columns(path: str, expected: dict[str, str | None]) -> None:
    assert partitions_of(path) == expected


def parquet(text: str) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"review_body": [text], "star_rating": [4]}), sink)
    return sink.getvalue().to_pybytes()


CONTENTS = {
    "p.parquet": parquet("good"),
    "p.csv": b"review_body,star_rating\ngood,4\n",
    "p.tsv": b"review_body\tstar_rating\ngood\t4\n",
    "p.json": json.dumps({"review_body": "good", "star_rating": 4}).encode(),
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize(
    ("folder", "category"),
    [("product_category=Toys", "Toys"), ("category=A%2FB", "A/B"), ("source=__HIVE_DEFAULT_PARTITION__", None)],
)
def test_every_table_takes_its_category_from_the_folder(tmp_path: Path, name: str, folder: str, category: str) -> None:
    records, report = read_with_report(tmp_path / folder / name, CONTENTS[name])
    assert [(record.text, record.label, record.category) for record in records] == [("good", "4", category)]
    assert how(report).columns["category"] == folder.partition("=")[0]
    assert how(report).chosen_by["category"] == "recognised by the name of a folder"


def test_a_named_partition_and_a_label(tmp_path: Path) -> None:
    for name, content in CONTENTS.items():
        (record,) = read(tmp_path / "store=7" / name, content, label_column="store")
        assert (record.label, record.text) == ("7", "good")


def test_a_column_of_the_file_takes_precedence(tmp_path: Path) -> None:
    (record,) = read(tmp_path / "category=folder" / "p.csv", b"text,category\na,file\n")
    assert record.category == "file"


def test_texts_and_headerless_tables_have_partitions(tmp_path: Path) -> None:
    assert [(r.text, r.label) for r in read(tmp_path / "label=pos" / "1.txt", b"a\nb")] == [("a", "pos"), ("b", "pos")]
    path = tmp_path / "1.npy"
    np.save(path, np.array(["a"]))
    assert [r.category for r in read(tmp_path / "category=x" / "1.npy", path.read_bytes())] == ["x"]
    (record,) = read(tmp_path / "label=5" / "p.csv", b"1,good thing\n", text_column="1")
    assert (record.text, record.label) == ("good thing", "5")
    (record,) = read(tmp_path / "shop=5" / "p.csv", b"1,good thing\n", text_column="1", label_column="shop")
    assert record.label == "5"


def test_archive_members_have_partitions(tmp_path: Path) -> None:
    members = {"d/category=a/p.csv": b"text\nx\n", "d/category=b/p.csv": b"text\ny\n"}
    for content in (zip_of(members), tar_of(members)):
        assert [(r.text, r.category) for r in read(tmp_path / "r", content)] == [("x", "a"), ("y", "b")]


def test_a_folder_name_cannot_be_the_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="given by a folder name"):
        read(tmp_path / "words=x" / "p.csv", b"a,b\n1,2\n", text_column="words")
