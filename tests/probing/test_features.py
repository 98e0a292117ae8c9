"""Features: equal to states of a document read alone by hand, independent of neighbours, and cached in a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.probed_checkpoint import NUM_DOCUMENTS, probed_checkpoint, probed_manifest
from textgen.model.checkpoint import Checkpoint
from textgen.probing.codebook import Codebook
from textgen.spec import ModelSpec
from textgen.windows.conditions import Condition
from textgen.windows.manifest import Manifest
from textgen.windows.shards import iter_documents
from textgen.windows.vocabulary import Vocabulary

pytestmark = pytest.mark.tensorflow

WIDTH = 2 * 7 + 2 * 6


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return probed_manifest(tmp_path_factory.mktemp("windows"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, manifest: Manifest) -> Checkpoint:
    return probed_checkpoint(tmp_path_factory.mktemp("checkpoint"), manifest)


@pytest.fixture(scope="module")
def reader(checkpoint: Checkpoint) -> Any:
    from textgen.probing.state_reader import StateReader

    return StateReader(checkpoint.build_model(), checkpoint.vocabulary)


def states_by_hand(model: Any, ids: list[int]) -> np.ndarray:
    """Returns the state after each id, [T, F], one at a time."""
    import tensorflow as tf

    state, found = model.initial_state(1), []
    for one in ids:
        _, state = model.step(tf.constant([one]), state)
        found.append(np.concatenate([part[0] for part in model.unit_states(state)]))
    return np.array(found)


def codebook_of(reader: Any, texts: list[str]) -> Codebook:
    return Codebook.of(np.concatenate(list(reader.word_ends(texts))), num_entries=9)


def test_features_equal_those_of_reading_a_document_alone(checkpoint: Checkpoint, reader: Any) -> None:
    texts = ["the  plot", "a great film " * 11, "", "dull", " fine"]  # One text is longer than a call.
    model, vocabulary = checkpoint.build_model(), checkpoint.vocabulary
    by_hand = [states_by_hand(model, [vocabulary.start_id, *vocabulary.encode(text).tolist()]) for text in texts]
    codebook = codebook_of(reader, texts)
    (reading,) = reader.read(texts, codebook)
    assert sorted(reading.places.tolist()) == [0, 1, 2, 3, 4]
    # Words end before a space and at the end, but not after a space; a document with only END counts as a word.
    word_ends = [[3, 9], [n for n in range(1, 144) if ("x" + texts[1])[n : n + 2][-1:] == " " != texts[1][n - 1]]]
    for row, place in enumerate(reading.places):
        states = by_hand[place]
        np.testing.assert_allclose(reading.last[row], states[-1], atol=1e-4)
        np.testing.assert_allclose(reading.mean[row], states.mean(axis=0), atol=1e-4)
        if place < 2:
            entries = codebook.entries_of(states[word_ends[place]].astype(np.float32))
            expected = np.bincount(entries, minlength=len(codebook))
            assert reading.counts[[row]].toarray()[0].tolist() == expected.tolist()
    assert {place: int(reading.counts[[row]].sum()) for row, place in enumerate(reading.places)} == {
        0: 2, 1: 33, 2: 1, 3: 1, 4: 2,
    }  # fmt: skip


def test_neighbours_change_nothing(reader: Any) -> None:
    text, others = "a dull film was great", [f"the {number} plots" * (number % 9) for number in range(300)]
    codebook = codebook_of(reader, others)
    (alone,) = reader.read([text], codebook)
    for reading in reader.read([*others, text], codebook):
        for row in np.flatnonzero(reading.places == 300):
            assert (reading.last[row] == alone.last[0]).all()
            assert (reading.mean[row] == alone.mean[0]).all()
            assert (reading.counts[[row]] != alone.counts).nnz == 0
            return
    pytest.fail("the text was not read")


def test_a_trace_is_the_state_after_each_character(checkpoint: Checkpoint, reader: Any) -> None:
    text = "the film was the worst of all " * 3
    vocabulary = checkpoint.vocabulary
    by_hand = states_by_hand(checkpoint.build_model(), [vocabulary.start_id, *vocabulary.encode(text).tolist()])
    np.testing.assert_allclose(reader.trace(text), by_hand[1:], atol=1e-4)


def test_a_trace_of_bytes_has_a_state_per_character() -> None:
    from textgen.model.language_model import LanguageModel
    from textgen.probing.state_reader import StateReader

    text = "aéשb"
    vocabulary = Vocabulary(unit="bytes", symbols=tuple(sorted(set(text.encode()))))
    model = LanguageModel(ModelSpec(embedding_dim=3, units=5), vocab_size=vocabulary.size, seed=2)
    by_hand = states_by_hand(model, [vocabulary.start_id, *vocabulary.encode(text).tolist()])
    ends = [1, 3, 5, 6]  # In bytes.
    np.testing.assert_allclose(StateReader(model, vocabulary).trace(text), by_hand[ends], atol=1e-4)


def test_a_conditioned_model_reads_none(checkpoint: Checkpoint) -> None:
    from textgen.model.language_model import LanguageModel
    from textgen.probing.state_reader import StateReader

    vocabulary = dataclasses.replace(
        checkpoint.vocabulary,
        conditions=(Condition(column="label", values=("bad", "good")), Condition(column="category", values=("x",))),
    )
    model = LanguageModel(checkpoint.spec.model, vocab_size=vocabulary.size, controls=vocabulary.controls, seed=2)
    model.held.embeddings.assign(np.random.default_rng(5).normal(size=model.held.embeddings.shape))
    first = vocabulary.first_control_id
    lead = [vocabulary.start_id, first, first + 3]  # The label's two values follow its `none`.
    by_hand = states_by_hand(model, [*lead, *vocabulary.encode("great film").tolist()])
    np.testing.assert_allclose(StateReader(model, vocabulary).trace("great film"), by_hand[3:], atol=1e-4)


def test_features_are_in_the_documents_order_and_cached(
    checkpoint: Checkpoint, manifest: Manifest, reader: Any, tmp_path: Path
) -> None:
    from textgen.probing.features import features_of

    said: list[str] = []
    texts = {split: [document.text for document in iter_documents(manifest, split)] for split in NUM_DOCUMENTS}
    features = features_of(checkpoint, texts, cache_uri=str(tmp_path), say=said.append)
    for split, count in NUM_DOCUMENTS.items():
        own = features[split]
        assert len(own) == count
        assert own.last.shape == own.mean.shape == (count, WIDTH)
        for number in (0, count // 2, count - 1):
            np.testing.assert_allclose(own.last[number], reader.trace(texts[split][number])[-1], atol=1e-4)
            assert own.counts[[number]].sum() == len(texts[split][number].split())
    assert len(list(tmp_path.glob("features-*.npz"))) == 1
    again = features_of(checkpoint, texts, cache_uri=str(tmp_path), say=said.append)
    assert "read features from" in said[-1]
    for split in NUM_DOCUMENTS:
        assert (again[split].mean == features[split].mean).all()
        assert (again[split].counts != features[split].counts).nnz == 0
    assert len(features_of(checkpoint, {"train": texts["val"]}, cache_uri=str(tmp_path), say=said.append)) == 1
    assert len(list(tmp_path.glob("features-*.npz"))) == 2
