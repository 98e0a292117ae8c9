"""The classifier's layers: what they compute, and that they ignore padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

tf = pytest.importorskip("tensorflow")

from tests.labelled_windows import classifier_spec  # noqa: E402
from textgen.model.classifier import Classifier, Standardiser, concat_pooled  # noqa: E402
from textgen.model.dropout import DropoutKey  # noqa: E402
from textgen.model.language_model import LanguageModel  # noqa: E402

NUM_WORDS, VOCAB_SIZE, NUM_CLASSES = 8, 10, 3


def classifier_of(features: str, **changes: Any) -> Classifier:
    return Classifier(
        classifier_spec(features, **changes),
        num_words=NUM_WORDS,
        vocab_size=VOCAB_SIZE,
        num_classes=NUM_CLASSES,
        seed=4,
    )


def test_pooling_ignores_padding() -> None:
    outputs = np.random.default_rng(2).standard_normal((4, 5, 3)).astype(np.float32)
    outputs[2] -= 10  # All negative: a maximum over padding would be zero.
    lengths = [5, 2, 3, 0]
    pooled = concat_pooled(tf.constant(outputs), tf.constant(lengths)).numpy()
    for row, length in enumerate(lengths):
        own = outputs[row, :length]
        expected = np.concatenate([own[-1], own.mean(axis=0), own.max(axis=0)]) if length else np.zeros(9)
        np.testing.assert_allclose(pooled[row], expected, atol=1e-6)


def test_a_bag_goes_through_the_dense_layers() -> None:
    model = classifier_of("bag_of_words")
    weights = model.get_weights_by_name()
    bags = np.random.default_rng(2).integers(0, 2, (6, NUM_WORDS)).astype(np.int32)
    logits, state = model(tf.constant(bags), model.initial_state(6))
    first = np.maximum(bags @ weights["hidden_1/kernel"] + weights["hidden_1/bias"], 0)
    second = 1 / (1 + np.exp(-(first @ weights["hidden_2/kernel"] + weights["hidden_2/bias"])))
    expected = second @ weights["labels/kernel"] + weights["labels/bias"]
    np.testing.assert_allclose(logits.numpy()[:, 0], expected, atol=1e-5)
    assert state == []


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_features_are_the_language_models_outputs_whatever_the_padding(cell: str) -> None:
    model = classifier_of("language_model", model__cell=cell, model__num_layers=2, model__layer_units=(4, 6))
    documents = [[3, 1, 9, 2], [5], [7, 7]]
    logits = {}
    for length in (4, 9):
        ids = np.full((3, length), -1, np.int32)
        for row, document in enumerate(documents):
            ids[row, : len(document)] = document
        logits[length] = model(tf.constant(ids), model.initial_state(3))[0].numpy()
    np.testing.assert_allclose(logits[4], logits[9], atol=1e-6)

    reading = LanguageModel(model.language_model.spec, vocab_size=VOCAB_SIZE, seed=4)
    own = model.get_weights_by_name()
    reading.set_weights_by_name({name: own.get(name, array) for name, array in reading.get_weights_by_name().items()})
    outputs, _ = reading.outputs(tf.constant([documents[0]]), reading.initial_state(1))
    values = concat_pooled(outputs, tf.constant([4]))[:, None]
    for layer in (*model.hidden, model.labels):
        values = layer(values)
    np.testing.assert_allclose(values.numpy()[0], logits[4][0], atol=1e-6)


def test_in_mixed_precision_a_language_model_rounds_its_products_in_training() -> None:
    ids = tf.constant(np.random.default_rng(2).integers(0, VOCAB_SIZE, (5, 8)), tf.int32)
    pooled = []
    for is_mixed in (False, True):
        spec = classifier_spec("language_model", model__dropout=0.0)
        model = Classifier(
            spec, num_words=NUM_WORDS, vocab_size=VOCAB_SIZE, num_classes=NUM_CLASSES, mixed_precision=is_mixed
        )
        key = DropoutKey(seed=1, step=tf.constant(3, tf.int64), first_row=0)
        pooled.append(model.pooled(ids, model.initial_state(5), dropout=key)[0].numpy())
    exact, mixed = pooled
    assert mixed.dtype == np.float32
    assert 1e-5 < np.linalg.norm(mixed - exact) / np.linalg.norm(exact) < 0.03


def test_the_standardiser_gives_every_pooled_value_mean_0_and_spread_1() -> None:
    values = np.random.default_rng(2).normal(3.0, 0.01, (50, 4)).astype(np.float32)
    values[:, 1] = 7.0  # Constant.
    standardiser = Standardiser(4, name="pooled")
    np.testing.assert_array_equal(standardiser(tf.constant(values)).numpy(), values)
    standardiser.fit(values)
    found = standardiser(tf.constant(values)).numpy()
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(found.std(axis=0), [1, 0, 1, 1], atol=1e-3)


def test_groups_hold_every_variable_once_from_the_input_to_the_output() -> None:
    model = classifier_of("language_model", model__num_layers=2, model__layer_units=(4, 6))
    groups = model.layer_groups()
    assert [name for group in groups for name in group] == list(model.variables_by_name())
    assert [group[0].split("/")[0] for group in groups] == ["embedding", "lstm_1", "lstm_2", "pooled"]
    assert model.vocabulary_axes() == {"embedding/embeddings": 0}
    bag = classifier_of("bag_of_words")
    assert bag.layer_groups() == [list(bag.variables_by_name())]
    assert bag.vocabulary_axes() == {}


def test_dropout_acts_only_in_training_and_by_place_in_the_global_batch() -> None:
    model = classifier_of("bag_of_words", classifier__dropout=0.5)
    bags = tf.ones((4, NUM_WORDS), tf.int32)

    def logits(first_row: int, rows: int, step: int = 3) -> Any:
        key = DropoutKey(seed=1, step=tf.constant(step, tf.int64), first_row=first_row)
        return model(bags[:rows], [], dropout=key)[0].numpy()[:, 0]

    plain = model(bags, [])[0].numpy()[:, 0]
    np.testing.assert_allclose(plain, np.broadcast_to(plain[0], plain.shape), atol=1e-6)
    whole = logits(0, 4)
    assert len({tuple(row) for row in whole.round(4).tolist()}) == 4
    np.testing.assert_allclose(logits(2, 2), whole[2:], atol=1e-6)
    assert not np.allclose(logits(0, 4, step=4), whole)
