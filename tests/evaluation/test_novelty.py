"""Distances computed by hand from a few windows."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.written_windows import written_manifest
from textgen.evaluation import novelty
from textgen.evaluation.novelty import distances, training_windows

WINDOWS = ["red fox", "Red HEN", "dog"]


def test_the_nearest_window_counts_and_rare_words_weigh_more() -> None:
    # scikit-learn's weights: ln((1 + windows) / (1 + windows with the word)) + 1.
    red, other = math.log(4 / 3) + 1, math.log(4 / 2) + 1
    expected = {
        "red fox": 0.0,
        "fox dog": 1 - math.sqrt(1 / 2),
        "red dog": 1 - other / math.hypot(red, other),
        "dog! a zebra": 0.0,  # Words that no window has are ignored.
        "zebra": 1.0,
        "": 1.0,
    }
    assert distances(list(expected), WINDOWS) == pytest.approx(list(expected.values()), abs=1e-12)


def test_including_the_copied_prompt_reduces_the_distance() -> None:
    prompt, completion = "red fox", " sees a zebra"
    assert distances([completion, prompt + completion], iter(WINDOWS)) == pytest.approx([1, 0])


def test_texts_are_compared_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "ROWS", 2)
    assert distances(["dog", "zebra", "red fox", "x", "dog"], WINDOWS) == pytest.approx([0, 1, 0, 1, 0])
    assert distances([], WINDOWS).shape == (0,)


def test_windows_without_words_are_at_distance_1() -> None:
    assert distances(["a b", "word"], ["a", ".", ""]).tolist() == [1, 1]


def test_windows_are_those_of_train_with_end_as_a_line_break(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": ["abc", "de"], "val": ["fgh" * 9]})
    assert list(training_windows(manifest, context_length=4, stride=2)) == ["abc\n", "c\nde"]
    assert list(training_windows(manifest, context_length=99, stride=2)) == ["abc\nde\n"]


def test_a_large_corpus_contributes_evenly_spaced_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "MAX_WINDOWS", 3)
    manifest = written_manifest(str(tmp_path), {"train": ["abcdefghijk"]}, separator=" ")
    assert list(training_windows(manifest, context_length=2, stride=1)) == ["ab", "fg"]
