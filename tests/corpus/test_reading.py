"""The bounded summary of how a corpus was read, from the reader to the job's result."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus.test_archives import zip_of
from tests.corpus_helpers import read_with_report, sentences
from tests.ingest_helpers import ingested, serially, spec_with
from textgen import storage
from textgen.corpus import reading
from textgen.corpus.formats import FileReport, ReadAs
from textgen.corpus.reading import Readings, in_words
from textgen.ingest.pipeline import ingest
from textgen.ingest.result import advice_on

__all__ = ["serially"]


def report_of(read_as: ReadAs) -> FileReport:
    return FileReport(read_as=[(1, read_as)])


def test_files_read_alike_share_an_entry() -> None:
    readings = Readings()
    for number in range(3):
        readings.add(f"{number}.csv", report_of(ReadAs(format="csv", delimiter=",", quotes="csv")))
    readings.add("x.tsv", report_of(ReadAs(format="tsv", delimiter="\t", quotes="none")))
    assert readings.result() == [
        {"format": "csv", "delimiter": ",", "quotes": "csv", "parts": 3, "example": "0.csv"},
        {"format": "tsv", "delimiter": "\t", "quotes": "none", "parts": 1, "example": "x.tsv"},
    ]
    assert "3 files (such as 0.csv) read as csv, delimiter ',', csv quoting" in readings.sentences()[0]
    assert "1 file (such as x.tsv) read as tsv, delimiter a tab, no quoting" in readings.sentences()[1]


@given(st.lists(st.lists(st.sampled_from("abcdefg"), max_size=5), max_size=6))
def test_summaries_combine_in_any_grouping(groups: list[list[str]]) -> None:
    whole, parts = Readings(), []
    for group in groups:
        part = Readings()
        for name in group:
            part.add(name, report_of(ReadAs(format=name)))
            whole.add(name, report_of(ReadAs(format=name)))
        parts.append(json.loads(json.dumps(part.to_dict())))
    assert Readings.of(parts) == whole


def test_the_summary_of_thousands_of_files_is_short() -> None:
    readings = Readings()
    for number in range(3000):
        report = report_of(ReadAs(format=f"f{number}"))
        report.notes.append(f"note {number}")
        report.left_out.append("README.md")
        readings.add(f"{number}.zip", report)
    assert len(readings.sentences()) < 3 * reading.MAX_WAYS
    assert readings.num_more == 3 * (3000 - reading.MAX_WAYS)
    assert len(json.dumps(readings.to_dict())) < 10_000
    assert Readings.of([{}]).sentences() == []  # From the manifest of an earlier version.


def test_the_description_names_format_delimiter_encoding_columns_and_reasons(tmp_path: Path) -> None:
    content = "review;stars\n" + "".join(f"{text};4\n" for text in sentences(9))
    _, report = read_with_report(tmp_path / "r.zip", zip_of({"r.csv": content.encode("utf-16")}), label_column="stars")
    ((_, read_as),) = report.read_as
    assert in_words(read_as.to_dict()) == (
        "csv, unpacked from zip, delimiter ';', csv quoting, encoding utf-16, text from 'review' (recognised by its "
        "name), label from 'stars' (named by corpus.label_column), no category"
    )


@pytest.mark.usefixtures("serially")
def test_ingest_reports_how_it_read_and_counts_what_it_rejected(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    texts = sentences(400)
    one = "review,rating\n" + "".join(f"{text},{place % 5}\n" for place, text in enumerate(texts[:200]))
    members = {"a.csv": (one + one.replace("0\n", "1\n") + "short\n").encode(), "README.md": b"# about"}
    lines = [{"text": text, "stars": 1} for text in texts[200:]] + [{"text": None}, {"text": "NaN"}]
    folder.mkdir()
    (folder / "a.zip").write_bytes(zip_of(members))
    (folder / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said: list[str] = []
    output = tmp_path / "out"
    result = ingest([str(folder)], output=str(output), spec=spec_with(), say=said.append)
    assert result["dropped_by_rule"] == {"repeated_header": 1}
    assert result["rejected_by_reason"] == {"columns": 1, "no_text": 2}
    total = result["documents"] + result["duplicates"] + result["dropped"] + result["rejected"]
    assert result["records"] == total == 401 + 1 + 202
    assert [(way["format"], way.get("delimiter"), way["columns"]["label"]) for way in result["read_as"]] == [
        ("csv", ",", "rating"),
        ("json lines", None, "stars"),
    ]
    log = "\n".join(said)
    assert "text from 'review' (recognised by its name), label from 'rating'" in log
    assert "README.md" in log
    rows = [
        json.loads(line)
        for file in storage.list_files(str(output / "rejected"))
        for line in storage.read_bytes(file.uri).decode().splitlines()
    ]
    assert {(row["reason"], row["read_as"].partition(",")[0]) for row in rows} == {
        ("columns", "csv"),
        ("no_text", "json lines"),
    }
    again = ingest([str(folder)], output=str(output), spec=spec_with(), say=said.append)
    assert {**again, "seconds": 0} == {**result, "seconds": 0}


@pytest.mark.usefixtures("serially")
@pytest.mark.parametrize(("column", "is_warned"), [("title", True), ("body", False)])
def test_a_corpus_of_duplicates_causes_a_warning(tmp_path: Path, column: str, is_warned: bool) -> None:
    rows = "".join(f"good {place % 12},{text}\n" for place, text in enumerate(sentences(300)))
    (tmp_path / "r.csv").write_text(f"title,body\n{rows}")
    settings: dict[str, Any] = {"corpus__text_column": column, "corpus__min_split_documents": 1}
    result, _ = ingested([str(tmp_path / "r.csv")], tmp_path / "out", **settings)
    assert any("288 of 300 records repeat" in text and "corpus.text_column" in text for text in result["warnings"]) == (
        is_warned
    )


def test_the_most_common_reason_for_rejection_suggests_a_setting() -> None:
    assert "corpus.delimiter" in advice_on(Counter(columns=3, no_text=1))
    assert "corpus.text_column" in advice_on(Counter(columns=1, no_text=3))
    assert advice_on(Counter(surrogate=1)) == ""
