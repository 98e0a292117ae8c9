"""Figures of texts computed by hand, passages, and a small model end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.written_checkpoint import write_checkpoint
from tests.written_windows import written_manifest
from textgen.errors import UserError
from textgen.evaluation.generated_text import copied_chars, passages, text_figures
from textgen.spec import WindowsSpec

TRAIN = ["the cat sat on the mat", "a dog saw the cat"]
WINDOWS = WindowsSpec(context_length=11, stride=1)


@pytest.fixture(autouse=True)
def shards_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))


def test_figures_equal_those_computed_by_hand(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": TRAIN})
    texts = ["the cat sat on a dog", "cat cat cat cat cat "]
    figures = text_figures(texts, manifest, windows=WINDOWS, prompts=["the cat sat", "dog"])
    assert figures["mean_chars"] == 20
    assert (figures["copied_chars_mean"], figures["copied_chars_max"]) == (
        (15 + 5) / 2,
        15,
    )  # "the cat sat on ", " cat "?
    assert figures["share_with_40_copied_chars"] == 0
    assert figures["repeated_ngram_share"] == (0 + 1) / (3 + 2)
    assert figures["loop_chars_share"] == (0 + 20) / 40
    assert figures["looping_share"] == 1 / 2
    assert 0 < figures["novelty_with_prompt"] < figures["novelty"] < 1


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_copied_passages_are_measured_in_characters(tmp_path: Path, unit: str) -> None:
    manifest = written_manifest(str(tmp_path), {"train": ["שלום abc"]}, unit=unit)  # type: ignore[arg-type]
    assert copied_chars(["לום", "abשלו", "ac", ""], manifest).tolist() == [3, 3, 1, 0]


def test_passages_begin_at_a_space_and_end_with_their_document(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": TRAIN, "val": ["at", "c"]})
    found = passages(manifest, split="train", num_passages=40, length=7, seed=1)
    assert {len(passage) for passage in found} == {7}
    assert all(passage[0] == " " and any(passage in text for text in TRAIN) for passage in found)
    assert len(set(found)) > 3
    assert passages(manifest, split="train", num_passages=40, length=7, seed=1) == found
    assert passages(manifest, split="train", num_passages=40, length=7, seed=2) != found
    assert set(passages(manifest, split="val", num_passages=9, length=7, seed=1)) == {"at"}
    with pytest.raises(UserError, match=r"the split test of .* is empty"):
        passages(manifest, split="test", num_passages=1, length=7, seed=1)


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_the_length_of_passages_is_in_characters_for_any_unit(tmp_path: Path, unit: str) -> None:
    texts = ["א שלום וברכה לכולם", "טוב מאוד היום כאן"]
    manifest = written_manifest(str(tmp_path), {"train": texts}, unit=unit)  # type: ignore[arg-type]
    found = passages(manifest, split="train", num_passages=20, length=7, seed=1)
    assert {len(passage) for passage in found} == {7}
    assert all(any(passage in text for text in texts) for passage in found)


def test_without_spaces_passages_begin_anywhere(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": ["abcdefgh"]})
    found = set(passages(manifest, split="train", num_passages=30, length=3, seed=0))
    assert found == {"abc", "bcd", "cde", "def", "efg", "fgh"}


@pytest.mark.tensorflow
def test_completions_are_compared_with_held_out_text(tmp_path: Path) -> None:
    from textgen.evaluation.generated_text import completion_figures
    from textgen.model.checkpoint import Checkpoint

    manifest = written_manifest(
        str(tmp_path / "windows"), {"train": ["beat a bath, he ate", "abba e"], "test": ["a bet he be at", "heat é t"]}
    )
    checkpoint = Checkpoint.load(write_checkpoint(tmp_path / "checkpoint", temperature=0.0, max_new_chars=31))
    said: list[str] = []
    figures = completion_figures(checkpoint, manifest, num_completions=3, split="test", say=said.append)
    assert (figures["num_completions"], figures["temperature"]) == (3, 0.0)
    assert 0 < figures["mean_chars"] <= 31
    assert {*figures["held_out"], "novelty_with_prompt", "num_completions", "temperature", "held_out"} == set(figures)
    assert said
