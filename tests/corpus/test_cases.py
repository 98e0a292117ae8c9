"""Small input files that were once read incorrectly, passed in as a user would."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.ingest_helpers import SHARED_DATA
from textgen.corpus.formats import FileReport, Record
from textgen.corpus.records import read_records
from textgen.corpus.sources import resolve
from textgen.errors import UserError
from textgen.spec import CorpusSpec

CASES = SHARED_DATA.parent / "cases"
ROWS = 400

READ: dict[str, dict[str, Any]] = {
    "quoted.tsv": {},
    "series.csv": {"text_column": "0"},
    "headers.csv": {},
    "flip.csv": {"text_column": "Summary"},
    "readme.zip": {},
    "readme_md.zip": {},
    "reviews.tar.gz": {"format": "jsonl"},
    "reviews.json.xz": {},
    "plain.json.gz": {},
    "semicolon.csv": {},
    "excelsep.csv": {},
    "tabs.csv": {},
    "utf16.tsv": {},
    "cr.tsv": {},
    "spaces.csv": {},
    "array_lines.json": {},
    "pydict.json": {},
    "x.zip": {},
}


def case(name: str) -> str:
    path = CASES / name
    if not path.exists():
        pytest.skip(f"the case {name} is not on this machine")
    return str(path)


def records_of(name: str, **settings: Any) -> tuple[list[Record], FileReport]:
    report = FileReport()
    found: list[Record] = []
    for file in resolve([case(name)]):
        report.num_earlier = 0
        found += read_records(file, CorpusSpec(**settings), report=report)
    return found, report


@pytest.mark.parametrize("name", READ)
def test_every_text_is_read_completely_and_once(name: str) -> None:
    records, report = records_of(name, **READ[name])
    texts = [record.text or "" for record in records if record.reason is None]
    assert len(texts) == len(set(texts)) == ROWS
    assert {record.reason for record in records} <= {None, "repeated_header"}
    assert not any('"' in text.replace('"so" they', "") or text != text.strip() or text.isdecimal() for text in texts)
    assert not any(text.rstrip().endswith("\u2026") for text in texts)
    assert min(len(text.split()) for text in texts) >= 12
    ((_, read_as),) = report.read_as
    assert read_as.columns.get("text") == {"flip.csv": "Summary", "series.csv": "0", "x.zip": "full_text"}.get(
        name, "review"
    )


def test_line_breaks_within_quotes_stay_with_their_text() -> None:
    records, _ = records_of("quoted.tsv")
    assert all("\n" in (record.text or "") for record in records if "second line" in (record.text or ""))
    assert any("\n" in (record.text or "") for record in records)


def test_missing_values_are_neither_texts_nor_labels() -> None:
    records, _ = records_of("nan.jsonl")
    assert Counter(record.reason for record in records) == {None: 320, "no_text": 80}
    assert "nan" not in {record.label for record in records} | {record.text for record in records}
    assert {record.label for record in records if record.reason is None} >= {None}


def test_an_ambiguous_column_name_is_an_error() -> None:
    with pytest.raises(UserError, match="'text', at the positions 0 and 2"):
        records_of("dup.csv")


def test_a_title_used_as_text_causes_a_warning() -> None:
    _, report = records_of("flip.csv")
    ((_, read_as),) = report.read_as
    assert read_as.columns == {"text": "Review", "label": "Sentiment", "category": None}
    assert any("corpus.text_column=Summary" in warning for warning in read_as.warnings)


def test_header_lines_are_counted() -> None:
    records, _ = records_of("headers.csv")
    assert sum(record.reason == "repeated_header" for record in records) == len(records) - ROWS > 0


def test_skipped_readmes_are_reported() -> None:
    assert [records_of(name)[1].left_out for name in ("readme.zip", "readme_md.zip")] == [
        ["data/readme.txt"],
        ["README.md"],
    ]


def test_the_folder_is_the_category() -> None:
    records, report = records_of("hive")
    assert Counter(record.category for record in records) == {"Books": ROWS, "Music": ROWS}
    assert {read_as.columns["category"] for _, read_as in report.read_as} == {"product_category"}


def test_long_tweets_are_complete_and_reported() -> None:
    records, report = records_of("x.zip")
    assert sum(len(record.text or "") > 350 for record in records) == 40
    assert any("40 long tweets" in note for note in report.notes)


def test_every_case_has_a_test() -> None:
    names = {path.name for path in Path(case("README.md")).parent.iterdir()}
    assert names == {*READ, "README.md", "dup.csv", "nan.jsonl", "hive"}
