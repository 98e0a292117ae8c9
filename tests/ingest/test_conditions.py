"""An ingest with conditions compared with an ingest of the same text without."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.ingest_helpers import ingested, serially
from textgen.errors import UserError
from textgen.evaluation.baselines import baselines
from textgen.windows.batches import Batch, WindowReader, scoring_batches
from textgen.windows.documents import DocumentReader
from textgen.windows.lanes import Lanes, ScoringLanes, num_windows
from textgen.windows.manifest import SPLITS, Manifest
from textgen.windows.shards import IdReader, iter_documents

__all__ = ["serially"]
pytestmark = pytest.mark.usefixtures("serially")

NUM_DOCUMENTS = 400


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Writes reviews in two categories with 1 to 5 stars or none; a few have six stars."""
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))
    drawn = random.Random(5)
    lines = ["review_body\tstar_rating\tproduct_category"]
    for number in range(NUM_DOCUMENTS):
        text = " ".join(drawn.choices(["good", "bad", "tea", "שיר"], k=drawn.randint(2, 9)))
        star = drawn.choice(["1", "2", "5", ""])
        lines.append(f"{text} {number}\t{star}\t{'gifts' if number % 3 else 'tea'}")
    path = tmp_path / "reviews.tsv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def documents_with_ids(manifest: Manifest, split: str) -> list[tuple[list[int], str | None, str | None]]:
    rows = []
    for shard in manifest.split(split).shards:
        table = pq.read_table(f"{manifest.uri}/{shard.name}")
        for row in table.to_pylist():
            ids = np.frombuffer(row["ids"], manifest.vocabulary.id_dtype).tolist()
            rows.append((ids, row["label"], row["category"]))
    return rows


SHARES: dict[str, Any] = {"corpus__val_share": 0.2, "corpus__test_share": 0.2}
TOLD: dict[str, Any] = {**SHARES, "corpus__condition_on": ("category", "label"), "corpus__condition_none_share": 0.25}


def test_controls_precede_each_document_and_nothing_else_changes(source: str, tmp_path: Path) -> None:
    told_result, told = ingested([source], tmp_path / "told", windows__shard_bytes=2000, **TOLD)
    plain_result, plain = ingested([source], tmp_path / "plain", windows__shard_bytes=2000, **SHARES)
    vocabulary = told.vocabulary
    assert vocabulary.symbols == plain.vocabulary.symbols
    assert [condition.values for condition in vocabulary.conditions] == [("gifts", "tea"), ("1", "2", "5")]
    for key in ("documents", "characters", "distinct_characters", "duplicates", "records"):
        assert told_result[key] == plain_result[key]
    assert told.hash != plain.hash
    for split in SPLITS:
        expected, found = documents_with_ids(plain, split), documents_with_ids(told, split)
        assert [(ids[2:], *columns) for ids, *columns in found] == [(ids, *columns) for ids, *columns in expected]
        assert list(iter_documents(told, split)) == list(iter_documents(plain, split))
        for ids, label, category in found:
            category_control, label_control = (
                vocabulary.control_names[i - vocabulary.first_control_id] for i in ids[:2]
            )
            assert category_control in ("category=none", f"category={category}")
            assert label_control in ("label=none", f"label={label}")


def test_only_a_share_of_train_is_not_conditioned(source: str, tmp_path: Path) -> None:
    _, manifest = ingested([source], tmp_path / "told", **TOLD)
    none_ids = manifest.vocabulary.control_ids([0, 0]).tolist()
    shares = {}
    for split in SPLITS:
        documents = documents_with_ids(manifest, split)
        is_none = np.array([[a == b for a, b in zip(ids, none_ids, strict=False)] for ids, _, _ in documents])  # [D, 2]
        has_label = np.array([label is not None for _, label, _ in documents])
        assert is_none[~has_label, 1].all()
        shares[split] = [
            is_none[:, 0].mean(),
            is_none[has_label, 1].mean(),
            (is_none[:, 0] & is_none[:, 1])[has_label].mean(),
        ]
    assert shares["val"] == shares["test"] == [0, 0, 0]
    assert shares["train"][:2] == pytest.approx([0.25, 0.25], abs=0.1)
    assert 0 < shares["train"][2] < 0.15  # Drawn independently for each column: 1/16 of the documents.


def all_targets(batches: list[Batch]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([b.targets.ravel() for b in batches]), np.concatenate([b.weights.ravel() for b in batches])


def test_controls_are_inputs_and_not_counted(source: str, tmp_path: Path) -> None:
    _, manifest = ingested([source], tmp_path / "told", **TOLD)
    vocabulary = manifest.vocabulary
    reader = IdReader(manifest, "train")
    lanes = Lanes(num_windows=num_windows(reader.num_ids, 7, 7), global_batch_size=3)
    windows = WindowReader(reader, lanes, context_length=7, stride=7, first_row=0, last_row=3)
    trained = [windows.batch(step) for step in range(lanes.steps_per_epoch)]
    scored = list(
        scoring_batches(reader, ScoringLanes(num_ids=reader.num_ids, context_length=11), start_id=vocabulary.start_id)
    )
    everything = reader.read(0, reader.num_ids)
    for batches in (trained, scored):
        targets, weights = all_targets(batches)
        assert vocabulary.is_control(targets).any()
        assert not weights[vocabulary.is_control(targets)].any()
        inputs = np.concatenate([batch.inputs.ravel() for batch in batches])
        assert set(inputs[vocabulary.is_control(inputs)]) == set(everything[vocabulary.is_control(everything)])
    split = manifest.split("train")
    characters = split.num_ids - 2 * split.num_documents
    assert all_targets(scored)[1].sum() == characters
    reader.close()


def test_count_models_and_xz_read_the_text_without_controls(source: str, tmp_path: Path) -> None:
    _, told = ingested([source], tmp_path / "told", **TOLD)
    _, plain = ingested([source], tmp_path / "plain", **SHARES)
    assert baselines(told, split="test") == baselines(plain, split="test")


def test_a_classifier_does_not_see_the_label(source: str, tmp_path: Path) -> None:
    _, told = ingested([source], tmp_path / "told", **TOLD)
    reader = DocumentReader(told, "val")
    texts = [document.text for document in iter_documents(told, "val")]
    assert [told.vocabulary.decode(reader.ids(number)) for number in range(len(texts))] == texts
    assert not any(told.vocabulary.is_control(reader.ids(number)).any() for number in range(len(texts)))
    reader.close()


def test_a_value_missing_in_train_becomes_none(source: str, tmp_path: Path) -> None:
    settings = {"corpus__test_categories": ("tea",), "corpus__condition_on": ("category",)}
    _, manifest = ingested([source], tmp_path / "told", **settings)
    assert [condition.values for condition in manifest.vocabulary.conditions] == [("gifts",)]
    documents = documents_with_ids(manifest, "test")
    assert {category for _, _, category in documents} == {"tea"}
    assert {ids[0] for ids, _, _ in documents} == {manifest.vocabulary.first_control_id}


def test_conditions_require_their_column_and_end(source: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("a\nb\nc\n" * 9)
    with pytest.raises(UserError, match="label but no document of train has a label"):
        ingested([str(plain)], tmp_path / "out", corpus__condition_on=("label",))
    with pytest.raises(UserError, match=r"corpus\.condition_on is \['label'\] with windows\.separator ' '"):
        ingested([source], tmp_path / "out2", corpus__condition_on=("label",), windows__separator=" ")
