"""Shares of known words and of distinct pairs, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.written_windows import written_manifest
from textgen.evaluation import words
from textgen.evaluation.words import word_figures

TRAIN = ["the cat's tail, and the mat", "a dog saw Émile"]


@pytest.fixture(autouse=True)
def shards_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_words_of_train_are_known_in_any_case_and_a_cut_word_does_not_count(tmp_path: Path, unit: str) -> None:
    manifest = written_manifest(str(tmp_path), {"train": TRAIN}, unit=unit)  # type: ignore[arg-type]
    # Whole words: The, cat's, cat, émile of the first, and mat of the second; "cat" and "ma" are no words of train.
    figures = word_figures(["The cat's cat émile, do", "mat 5 ma "], manifest)
    assert figures["known_words_share"] == 4 / 6
    assert figures["distinct_pairs_share"] == 1
    assert word_figures(["the the the the ", "the the "], manifest)["distinct_pairs_share"] == 1 / 4


def test_a_word_between_two_pieces_of_train_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = written_manifest(str(tmp_path), {"train": TRAIN * 3})
    monkeypatch.setattr(words, "READ_IDS", 4)
    monkeypatch.setattr(words, "LONGEST_WORD", 8)
    assert word_figures(["the cat's tail and a dog saw Émile mat."], manifest)["known_words_share"] == 1
    assert word_figures(["at ail a "], manifest)["known_words_share"] == 1 / 3


def test_texts_without_words_have_nothing_unknown(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": TRAIN})
    assert word_figures(["", "42!", "cut"], manifest) == {"known_words_share": 1, "distinct_pairs_share": 1}
