"""Ingest of words: a bounded vocabulary counted on `train`, independent of the order of work."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.ingest_helpers import ids_of, ingested, run_serially, serially, shared_file
from textgen.errors import UserError
from textgen.ingest import pipeline as ingest_module
from textgen.ingest import staging
from textgen.windows.documents import DocumentLabels, classes_of
from textgen.windows.manifest import SPLITS, Manifest
from textgen.windows.shards import iter_documents
from textgen.windows.word_vocabulary import WordVocabulary, words_of

__all__ = ["serially"]
pytestmark = pytest.mark.usefixtures("serially")

WORDS = {
    "windows__unit": "words",
    "classifier__features": "bag_of_words",
    "training__order": "shuffled",
    "corpus__test_share": 0.2,
}


def source(folder: Path) -> str:
    """Writes 300 reviews in which longer words are rarer."""
    drawn = random.Random(7)
    rows = ["text\tlabel"]
    for number in range(300):
        words = ["x" * min(40, int(drawn.expovariate(0.3)) + 1) for _ in range(drawn.randint(2, 20))]
        rows.append(f"{' '.join(words)}, doc{number}\t{'' if number % 7 == 0 else number % 3}")
    folder.mkdir()
    (folder / "reviews.tsv").write_text("\n".join(rows) + "\n")
    return str(folder / "reviews.tsv")


def test_the_vocabulary_has_the_most_frequent_words_of_train(tmp_path: Path) -> None:
    result, manifest = ingested([source(tmp_path / "in")], tmp_path / "out", **WORDS, windows__max_vocab_size=12)
    assert isinstance(manifest.vocabulary, WordVocabulary)
    assert result["vocab_size"] == manifest.vocabulary.size == 12
    _, whole = ingested([source(tmp_path / "again")], tmp_path / "whole", **WORDS)
    documents = {split: [document.text for document in iter_documents(whole, split)] for split in SPLITS}
    counts = Counter(word for text in documents["train"] for word in words_of(text))
    expected = sorted(counts, key=lambda word: (-counts[word], word))
    assert whole.vocabulary == WordVocabulary.of_words(expected)
    assert manifest.vocabulary.words == tuple(expected[:10])
    assert all("\ufffd" in text for text in documents["test"])  # Every document has a unique word.
    assert result["characters"] == sum(len(text.split()) for texts in documents.values() for text in texts)


def test_the_result_does_not_depend_on_pieces_or_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = source(tmp_path / "in")
    settings = {**WORDS, "windows__max_vocab_size": 30, "windows__shard_bytes": 2_000}
    _, whole = ingested([text], tmp_path / "a", **settings)
    for name, value in (("CHUNK_BYTES", 3_000), ("RANGE_BYTES", 4_000)):
        monkeypatch.setattr(ingest_module, name, value)
    monkeypatch.setattr(staging, "BATCH_CHARS", 1_000)
    monkeypatch.setattr(
        ingest_module, "run_tasks", lambda task, items, **kwargs: run_serially(task, list(reversed(items)), **kwargs)
    )
    _, pieces = ingested([text], tmp_path / "b", **settings)
    assert pieces.vocabulary == whole.vocabulary
    assert ids_of(pieces, tmp_path / "cache-b") == ids_of(whole, tmp_path / "cache-a")


def test_labels_are_kept(tmp_path: Path) -> None:
    _, manifest = ingested([source(tmp_path / "in")], tmp_path / "out", **WORDS)
    classes = classes_of(Manifest.load(manifest.uri))
    assert classes == ("0", "1", "2")
    labels = [DocumentLabels.of(manifest, split, classes=classes) for split in SPLITS]
    assert sum(map(len, labels)) == 300 - 43
    assert sum(split.num_unlabelled for split in labels) == 43


def test_the_recipe_s_tweets_have_two_labels_and_3000_words(tmp_path: Path) -> None:
    source = shared_file("tweets/sentiment140_20k.csv")
    result, manifest = ingested([source], tmp_path / "out", preset="sentiment_tweets")
    assert (result["records"], result["rejected"], result["vocab_size"]) == (20_000, 0, 3_002)
    assert classes_of(manifest) == ("0", "4")
    labels = DocumentLabels.of(manifest, "train", classes=("0", "4"))
    assert (labels.num_unlabelled, labels.num_unseen) == (0, 0)
    assert 0.48 < labels.labels.mean() < 0.52  # The file is sorted by label; the split is not.
    assert {"don't", "i'm", "love", "not"} <= set(manifest.vocabulary.to_dict()["words"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classifier__features": None}, r"windows\.unit is words with classifier\.features none"),
        ({"windows__unit": "bytes"}, r"windows\.unit is bytes with classifier\.features bag_of_words"),
        ({"windows__separator": " "}, r"windows\.separator is ' ' with windows\.unit words"),
        ({"windows__max_vocab_size": 2}, r"windows\.max_vocab_size is 2 .*must be 3 or more"),
        ({"training__order": "stateful"}, r"training\.order is stateful.*set training\.order=shuffled"),
        ({"classifier__hidden_units": [5]}, r"classifier\.hidden_units has 1 layers .*give one width"),
    ],
)
def test_incompatible_settings_are_an_error(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ingested([source(tmp_path / "in")], tmp_path / "out", **WORDS | settings)
