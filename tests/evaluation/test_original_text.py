"""The number of characters is that of the original text, without marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.written_windows import tiny_spec, written_manifest
from textgen.corpus.marks import mark
from textgen.evaluation import original_text
from textgen.evaluation.baselines import baselines
from textgen.evaluation.compression import xz_bits_per_character
from textgen.evaluation.original_text import OriginalSizes
from textgen.evaluation.tally import Tally
from textgen.windows.manifest import Manifest

RULES = ("mark_numbers", "mark_all_capitals", "mark_capitals", "mark_repeats")
TEXTS = ["The ÉTÉ of 1984.....", "soooooo SAD", "no marks here", "BIG Paris"]


def marked(folder: Path, *, rules: tuple[str, ...] = RULES, separator: str | None = None) -> Manifest:
    texts = [mark(text, rules) for text in TEXTS]
    spec = tiny_spec(corpus__rules=rules)
    return written_manifest(str(folder), {"train": texts, "test": texts}, spec=spec, separator=separator)


@pytest.mark.parametrize("read_ids", [7, 2**21])
def test_a_marked_split_counts_its_original_characters(
    tmp_path: Path, read_ids: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(original_text, "READ_IDS", read_ids)
    tally = OriginalSizes(marked(tmp_path), "test").counted(Tally(nats=12.0, num_ids=77, num_characters=99))
    assert tally.num_characters == sum(len(text) + 1 for text in TEXTS)  # Each has an END.
    assert tally.num_bytes == sum(len(text.encode()) + 1 for text in TEXTS)
    assert (tally.nats, tally.num_ids) == (12.0, 77)


def test_separators_between_documents_are_counted(tmp_path: Path) -> None:
    tally = OriginalSizes(marked(tmp_path, separator=" | "), "test").counted(Tally())
    assert tally.num_characters == len(" | ".join(TEXTS))


def test_the_beginning_of_a_split_is_counted_alone(tmp_path: Path) -> None:
    manifest = marked(tmp_path)
    first = len(mark(TEXTS[0], RULES)) + 1
    assert OriginalSizes(manifest, "test", max_ids=first).counted(Tally()).num_characters == len(TEXTS[0]) + 1
    assert OriginalSizes(manifest, "test", max_ids=2).counted(Tally()).num_characters == 1  # A mark and its letter.


def test_without_marks_a_tally_is_unchanged(tmp_path: Path) -> None:
    tally = Tally(nats=1.0, num_ids=2, num_characters=3, num_bytes=4)
    assert OriginalSizes(marked(tmp_path, rules=("nfc",)), "test").counted(tally) is tally


def test_baselines_are_per_original_character(tmp_path: Path) -> None:
    with_marks = marked(tmp_path / "marked")
    as_stored = written_manifest(
        str(tmp_path / "stored"), {name: [mark(text, RULES) for text in TEXTS] for name in ("train", "test")}
    )
    figures, stored = (baselines(manifest, split="test", orders=(1, 2)) for manifest in (with_marks, as_stored))
    assert figures["xz"] == xz_bits_per_character(TEXTS)
    num_written = sum(len(text) + 1 for text in TEXTS)
    for name in ("unigram", "order1", "order2"):
        assert figures[name] * num_written == pytest.approx(stored[name] * with_marks.split("test").num_ids)
