"""Splits by category: the last year is `test`, and no text of it is in `train`."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.ingest_helpers import ids_of, ingested, run_serially, serially
from textgen import storage
from textgen.errors import UserError
from textgen.ingest import exchange, grouping, staging
from textgen.ingest import pipeline as ingest_module
from textgen.windows.manifest import SPLITS, Manifest
from textgen.windows.shards import iter_documents

__all__ = ["serially"]
pytestmark = pytest.mark.usefixtures("serially")

YEARS = ("2005", "2006", "2007", "2008")
TIME_SPLIT: dict[str, Any] = {
    "corpus__category_column": "year",
    "corpus__test_categories": "[2007, 2008]",  # As on a command line.
    "corpus__min_split_documents": 30,
    "windows__shard_bytes": 3_000,
}


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes chunks, groups and ranges so small that a test's corpus needs many."""
    monkeypatch.setattr(ingest_module, "CHUNK_BYTES", 3_000)
    monkeypatch.setattr(ingest_module, "RANGE_BYTES", 5_000)
    monkeypatch.setattr(ingest_module, "SHARD_WEIGHT_BYTES", 9_000)
    monkeypatch.setattr(staging, "BATCH_CHARS", 1_000)
    monkeypatch.setattr(grouping, "GROUP_BYTES", 4_000)
    monkeypatch.setattr(grouping, "MIN_FILE_BYTES", 1)
    monkeypatch.setattr(exchange, "MIN_RUN_BYTES", 3_000)
    monkeypatch.setattr(exchange, "REQUEST_BYTES", 5_000)


def corpus(folder: Path, *, seed: int = 3, first: str = "") -> dict[str, set[str]]:
    """Writes one file per year, where a quarter of the texts repeat earlier ones; returns the years of each text."""
    drawn = random.Random(seed)
    years: dict[str, set[str]] = {}
    folder.mkdir(exist_ok=True)
    for year in YEARS:
        lines = ["reviewText,year"]
        for _ in range(120):
            repeats = years and drawn.random() < 0.25
            text = drawn.choice(sorted(years)) if repeats else " ".join(drawn.choices("abcdefgh", k=15))
            years.setdefault(text, set()).add(year)
            lines.append(f"{text},{year}")
        (folder / f"{first if year == '2008' else ''}{year}.csv").write_text("\n".join(lines) + "\n")
    return years


def texts_by_split(manifest: Manifest) -> dict[str, list[str]]:
    return {split: [document.text for document in iter_documents(manifest, split)] for split in SPLITS}


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("order", ["hash", "file"])
@pytest.mark.parametrize("first", ["", "a-"])  # Held-out files come last or first.
def test_test_contains_the_texts_found_only_in_held_out_categories(tmp_path: Path, order: str, first: str) -> None:
    years = corpus(tmp_path / "in", first=first)
    result, manifest = ingested([str(tmp_path / "in")], tmp_path / "out", corpus__document_order=order, **TIME_SPLIT)
    texts = texts_by_split(manifest)
    early = {text for text, found in years.items() if found - {"2007", "2008"}}
    assert sorted(texts["test"]) == sorted(years.keys() - early)
    assert sorted(texts["train"] + texts["val"]) == sorted(early)
    assert len(texts["val"]) >= 20  # At most a tenth of the other texts, by hash.
    assert result["records"] == 480 == result["documents"] + result["duplicates"]
    assert {document.category for document in iter_documents(manifest, "test")} == {"2007", "2008"}
    others = {document.category for split in ("train", "val") for document in iter_documents(manifest, split)}
    assert others == {"2005", "2006"}
    assert len(manifest.split("test").shards) > 1


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("order", ["hash", "file"])
def test_the_result_does_not_depend_on_pieces_or_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    corpus(tmp_path / "in")
    _, manifest = ingested([str(tmp_path / "in")], tmp_path / "a", corpus__document_order=order, **TIME_SPLIT)
    monkeypatch.setattr(
        ingest_module, "run_tasks", lambda task, items, **kwargs: run_serially(task, list(reversed(items)), **kwargs)
    )
    listed = storage.list_files
    monkeypatch.setattr(storage, "list_files", lambda uri: listed(uri)[::-1])
    _, again = ingested([str(tmp_path / "in")], tmp_path / "b", corpus__document_order=order, **TIME_SPLIT)
    assert again.hash == manifest.hash
    assert ids_of(again, tmp_path / "cache-b") == ids_of(manifest, tmp_path / "cache-a")
    if order == "hash":  # The documents of a split do not depend on the ranges.
        monkeypatch.undo()
        monkeypatch.setattr(ingest_module, "run_tasks", run_serially)
        _, whole = ingested([str(tmp_path / "in")], tmp_path / "c", **TIME_SPLIT)
        assert texts_by_split(whole) == texts_by_split(manifest)


def test_splits_of_other_documents_do_not_depend_on_held_out_ones(tmp_path: Path) -> None:
    corpus(tmp_path / "in")
    _, manifest = ingested([str(tmp_path / "in")], tmp_path / "out", **TIME_SPLIT)
    for year in ("2007", "2008"):
        (tmp_path / "in" / f"{year}.csv").unlink()
    settings = {**TIME_SPLIT, "corpus__test_categories": (), "corpus__test_share": 0.0}
    _, early = ingested([str(tmp_path / "in")], tmp_path / "early", **settings)
    found, expected = texts_by_split(manifest), texts_by_split(early)
    assert (found["train"], found["val"]) == (expected["train"], expected["val"])
    assert manifest.vocabulary == early.vocabulary


def test_test_categories_without_texts_are_an_error(tmp_path: Path) -> None:
    corpus(tmp_path / "in")
    settings = {**TIME_SPLIT, "corpus__test_categories": ("2011",)}
    with pytest.raises(UserError, match=r"test_categories is \['2011'\] but no text occurs only in these"):
        ingested([str(tmp_path / "in")], tmp_path / "out", **settings)


def test_a_time_split_requires_deduplication(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus\.deduplicate=false allows the same text in train and in test"):
        ingested([str(tmp_path)], tmp_path / "out", corpus__deduplicate=False, **TIME_SPLIT)
