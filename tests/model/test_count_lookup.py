"""The look-up agrees with counting in plain Python, with and without folds, and its probabilities sum to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

tf = pytest.importorskip("tensorflow")

from tests.slow_counts import SlowCounts, table_of  # noqa: E402
from textgen.counts import build  # noqa: E402
from textgen.counts.contexts import NUM_FOLDS, block_ids_of, hashed  # noqa: E402
from textgen.counts.table import MAX_CHILDREN  # noqa: E402
from textgen.counts.words import REACH  # noqa: E402
from textgen.model.count_lookup import FEATURE_SCALES, CountLookup  # noqa: E402

V, ORDER, B, T = 7, 5, 3, 11
TEXT = np.random.default_rng(0).choice(V, 700, p=[0.4, 0.25, 0.15, 0.1, 0.05, 0.03, 0.02]).tolist()


@pytest.fixture(autouse=True)
def roomy_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts that find their bucket full would be missing."""
    monkeypatch.setattr(build, "CONTEXTS_PER_BUCKET", 0.02)


def keep_children(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    for order in MAX_CHILDREN:
        monkeypatch.setitem(MAX_CHILDREN, order, number)


def rows_of(text: list[int], order: int) -> tuple[Any, Any, Any]:
    """Returns the ids before, the ids, and the places of what follows them, of B rows at places that are far apart."""
    starts = np.arange(B) * (len(text) // B) + order
    before = np.array([text[start - order : start] for start in starts], np.float32)
    ids = np.array([text[start : start + T] for start in starts], np.int32)
    return before, ids, starts[:, None] + 1 + np.arange(T)


@pytest.mark.parametrize("max_children", [999, 3])
@pytest.mark.parametrize("leaves_out_folds", [False, True])
@pytest.mark.parametrize(("order", "vocab_size", "num_words"), [(5, 7, 0), (4, 5, 2), (7, 6, 1)])
def test_it_is_what_plain_python_counts(
    monkeypatch: pytest.MonkeyPatch,
    order: int,
    vocab_size: int,
    num_words: int,
    leaves_out_folds: bool,
    max_children: int,
) -> None:
    keep_children(monkeypatch, max_children)
    text = np.minimum(TEXT, vocab_size - 1).tolist()
    lookup = CountLookup(table_of(text, order=order, num_words=num_words, vocab_size=vocab_size, start_id=1))
    slow = SlowCounts(text, order=order, num_words=num_words, vocab_size=vocab_size, start_id=1)
    before, ids, places = rows_of(text, lookup.reach)
    found = lookup(tf.constant(ids), tf.constant(before), places=tf.constant(places) if leaves_out_folds else None)
    folds = places // block_ids_of(len(text)) % NUM_FOLDS
    for row, time in np.ndindex(B, T):
        context = [*before[row].astype(int), *ids[row, : time + 1]]
        expected = slow.probabilities(
            context, fold=folds[row, time] if leaves_out_folds else None, max_children=max_children
        )
        np.testing.assert_allclose(np.exp(found.log_probabilities[row, time, -1]), expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("max_bytes", [2**30, 3000])
def test_probabilities_sum_to_one_whatever_was_pruned(monkeypatch: pytest.MonkeyPatch, max_bytes: int) -> None:
    keep_children(monkeypatch, 2)
    lookup = CountLookup(table_of(TEXT, order=ORDER, vocab_size=V, max_bytes=max_bytes))
    for ids in (rows_of(TEXT, ORDER)[1], np.random.default_rng(1).integers(0, V, (B, T)).astype(np.int32)):
        for places in (None, tf.constant(rows_of(TEXT, ORDER)[2])):
            found = lookup(tf.constant(ids), tf.zeros((B, ORDER)), places=places)
            np.testing.assert_allclose(np.exp(found.log_probabilities).sum(-1), 1, atol=1e-4)


def test_features_say_how_well_the_context_is_known() -> None:
    text = [1, 2, 3, 4, 5] * 30
    lookup = CountLookup(table_of(text, order=ORDER, vocab_size=V))
    features = lookup(tf.constant([[1, 2, 3, 4, 5], [6, 6, 6, 6, 6]]), tf.zeros((2, ORDER))).features.numpy()
    # Five ids that occur 29 times before another, with one follower: the longest contexts are known as orders 1, 2, 3.
    np.testing.assert_allclose(features[0, -1] / FEATURE_SCALES, [3, np.log1p(29), np.log1p(1)], rtol=1e-5)
    np.testing.assert_array_equal(features[1, -1], 0)


def test_with_words_every_length_of_context_has_its_probabilities_and_features() -> None:
    text = [1, 2, 3, 1, 2, 0, 3] * 30  # "1 2", "1 2 0", and 3 separates words.
    lookup = CountLookup(table_of(text, order=4, num_words=2, vocab_size=5))
    shorter = CountLookup(table_of(text, order=4, vocab_size=5))
    before, ids = tf.constant([text[:REACH]], tf.float32), tf.constant([text[REACH : REACH + 6]])
    found, plain = lookup(ids, before), shorter(ids, before[:, -4:])
    assert found.log_probabilities.shape == (1, 6, lookup.num_gates, 5) == (1, 6, 1 + 2 + 2, 5)
    assert found.features.shape == (1, 6, lookup.num_features) == (1, 6, 3 + 2 * 4)
    np.testing.assert_allclose(np.exp(found.log_probabilities).sum(-1), 1, atol=1e-4)
    np.testing.assert_allclose(found.log_probabilities[:, :, 2:3], plain.log_probabilities, atol=1e-6)
    # After "1 2 3 1 2", the two words before decide whether 0 or 3 follows; four ids do not say how the text began.
    of_words = found.features[0, :, 3:].numpy().reshape(6, 4, 2) / FEATURE_SCALES[1:]
    assert np.expm1(of_words[:, 2:, 0]).min() > 25
    np.testing.assert_allclose(np.expm1(of_words[:, 3, 1]), 1, rtol=1e-5)


@pytest.mark.parametrize("num_words", [0, 2])
def test_a_chunk_at_a_time_and_a_compiled_call_say_the_same(num_words: int) -> None:
    lookup = CountLookup(table_of(TEXT, order=ORDER, num_words=num_words, vocab_size=V))
    before, ids, _ = rows_of(TEXT, lookup.reach)
    whole = lookup(tf.constant(ids), tf.constant(before)).log_probabilities.numpy()
    compiled = tf.function(lookup, jit_compile=True)(tf.constant(ids), tf.constant(before)).log_probabilities
    np.testing.assert_allclose(compiled, whole, rtol=1e-5, atol=1e-5)
    seen = np.concatenate([before, ids], axis=1)
    for time in range(T):
        one = lookup(tf.constant(ids[:, time : time + 1]), tf.constant(seen[:, time : time + lookup.reach], tf.float32))
        np.testing.assert_allclose(one.log_probabilities[:, 0], whole[:, time], rtol=1e-6, atol=1e-6)


def test_numpy_and_tensorflow_hash_alike() -> None:
    contexts = np.random.default_rng(2).integers(0, 2**56, 1000)
    orders = np.arange(1000) % 5 + 3
    found = hashed(tf.constant(contexts), tf.constant(orders), shift_right=tf.bitwise.right_shift).numpy()
    np.testing.assert_array_equal(found, hashed(contexts, orders))
    assert len(np.unique(found & 0xFFFFFFFF)) == len(np.unique(found >> 40)) == 1000
    np.testing.assert_array_equal(tf.cast(found, tf.int32), (found & 0xFFFFFFFF).astype(np.uint32).view(np.int32))
