"""Single documents: their ids and labels, and their layout in a batch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.written_windows import written_manifest
from textgen.errors import UserError
from textgen.windows.documents import (
    PADDING,
    DocumentBatches,
    DocumentLabels,
    DocumentLayout,
    DocumentReader,
    classes_of,
)
from textgen.windows.lanes import Lanes, worker_rows
from textgen.windows.manifest import Manifest

WORDS = ("good", "bad", "film", "plot", "ending")
TEXTS = [" ".join(WORDS[place % 5] for place in range(number, number + 1 + number % 4)) for number in range(23)]
LABELS = [None if number % 6 == 5 else ("neg", "pos", "mixed")[number % 3] for number in range(23)]
VAL_LABELS = ["pos", "new", None, "neg"]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """23 / 4 / 2 documents of words in shards of 5; val has a label that train lacks."""
    splits = {"train": TEXTS, "val": TEXTS[:4], "test": TEXTS[:2]}
    return written_manifest(
        str(tmp_path / "windows"),
        splits,
        unit="words",
        documents_per_shard=5,
        labels={"train": LABELS, "val": VAL_LABELS},
    )


@pytest.mark.parametrize("order", [1, -1])
def test_a_document_is_read_by_index(manifest: Manifest, order: int) -> None:
    with DocumentReader(manifest, "train") as reader:
        for number in range(len(TEXTS))[::order]:
            assert manifest.vocabulary.decode(reader.ids(number)) == TEXTS[number]


def test_an_empty_document_keeps_its_index(tmp_path: Path) -> None:
    texts = ["ab", "", "cab", "", ""]
    manifest = written_manifest(str(tmp_path), {"train": texts}, documents_per_shard=2)
    with DocumentReader(manifest, "train") as reader:
        assert [manifest.vocabulary.decode(reader.ids(number)) for number in range(5)] == texts


def test_joined_documents_are_an_error(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": ["a b", "c"]}, separator=" ")
    with pytest.raises(UserError, match=r"joined by a text.* windows\.separator=none"):
        DocumentReader(manifest, "train")


def test_labels_are_indices_of_the_sorted_classes_of_train(manifest: Manifest) -> None:
    classes = classes_of(manifest)
    assert classes == ("mixed", "neg", "pos")
    train = DocumentLabels.of(manifest, "train", classes=classes)
    assert {int(p): classes[c] for p, c in zip(train.places, train.labels, strict=True)} == {
        number: label for number, label in enumerate(LABELS) if label is not None
    }
    assert (len(train), train.num_unlabelled, train.num_unseen) == (20, 3, 0)
    val = DocumentLabels.of(manifest, "val", classes=classes)
    assert (val.places.tolist(), val.labels.tolist()) == ([0, 3], [2, 1])
    assert (val.num_unlabelled, val.num_unseen) == (1, 1)
    assert len(DocumentLabels.of(manifest, "test", classes=classes)) == 0


def test_a_single_label_is_an_error(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": ["a", "b"]}, labels={"train": ["pos", None]})
    with pytest.raises(UserError, match=r"have 1 distinct labels.*corpus\.label_column"):
        classes_of(manifest)


def layout_of(manifest: Manifest, *, is_bag: bool, max_ids: int = 3, part: str = "last") -> DocumentLayout:
    return DocumentLayout.of(manifest.vocabulary, is_bag=is_bag, max_ids=max_ids, part=part)  # type: ignore[arg-type]


def test_a_bag_marks_the_words_of_a_document(manifest: Manifest) -> None:
    vocabulary = manifest.vocabulary
    documents = [vocabulary.encode(text) for text in ("good good plot", "nothing known", "bad", "")]
    bags = layout_of(manifest, is_bag=True).inputs(documents)
    assert bags.shape == (4, len(WORDS))
    found = [{vocabulary.decode([2 + place]) for place in np.flatnonzero(bag)} for bag in bags]
    assert found == [{"good", "plot"}, set(), {"bad"}, set()]
    assert set(np.unique(bags)) <= {0, 1}


@pytest.mark.parametrize(("part", "kept"), [("first", [2, 3, 4]), ("last", [4, 5, 6])])
def test_ids_are_truncated_and_padded(manifest: Manifest, part: str, kept: list[int]) -> None:
    layout = layout_of(manifest, is_bag=False, part=part)
    documents = [np.array([2, 3, 4, 5, 6], np.uint8), np.array([4], np.uint8), np.zeros(0, np.uint8)]
    assert layout.inputs(documents).tolist() == [kept, [4, PADDING, PADDING], [PADDING] * 3]
    assert layout.inputs(documents[1:], length=2).tolist() == [[4, PADDING], [PADDING] * 2]


@pytest.mark.parametrize("num_workers", [1, 3])
def test_an_epoch_has_every_labelled_document_once_with_its_label(manifest: Manifest, num_workers: int) -> None:
    classes = classes_of(manifest)
    labels = DocumentLabels.of(manifest, "train", classes=classes)
    lanes = Lanes(num_windows=len(labels), global_batch_size=6, order="shuffled", block_windows=2, seed=5)
    seen: Counter[tuple[tuple[int, ...], str]] = Counter()
    with DocumentReader(manifest, "train") as reader:
        workers = [
            DocumentBatches(
                reader, labels, lanes, layout_of(manifest, is_bag=False, max_ids=4), first_row=first, last_row=last
            )
            for first, last in (worker_rows(6, rank, num_workers) for rank in range(num_workers))
        ]
        for step in range(lanes.steps_per_epoch):
            batches = [worker.batch(step) for worker in workers]
            assert sum(len(batch.inputs) for batch in batches) == 6
            for batch in batches:
                assert batch.targets.shape == batch.weights.shape == (len(batch.inputs), 1)
                for ids, target, weight in zip(batch.inputs, batch.targets, batch.weights, strict=True):
                    if weight[0]:
                        seen[tuple(ids[ids != PADDING].tolist()), classes[target[0]]] += 1
                    else:
                        assert (ids == PADDING).all()
    expected = Counter(
        (tuple(manifest.vocabulary.encode(text).tolist()), label)
        for text, label in zip(TEXTS, LABELS, strict=True)
        if label is not None
    )
    assert seen == expected
