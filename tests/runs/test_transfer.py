"""Transfer of weights from one vocabulary to another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.errors import UserError
from textgen.runs.transfer import known_ids, transferred
from textgen.windows.vocabulary import Condition, Vocabulary

AXES = {"embedding/embeddings": 0, "logits/kernel": 1, "logits/bias": 0}


def vocabulary(symbols: str, separator: str | None = None) -> Vocabulary:
    return Vocabulary.from_counts({ord(c): 1 for c in symbols}, unit="characters", separator=separator)


def weights(vocab_size: int, *, first: float = 0.0) -> dict[str, np.ndarray]:
    """Returns weights of an embedding of width 3 and 5 units, all numbers distinct."""
    shapes = {"embedding/embeddings": (vocab_size, 3), "lstm_1/kernel": (3, 20), "logits/kernel": (5, vocab_size)}
    made, start = {}, first
    for name, shape in {**shapes, "logits/bias": (vocab_size,)}.items():
        made[name] = np.arange(start, start + np.prod(shape), dtype=np.float32).reshape(shape)
        start += np.prod(shape)
    return made


@settings(deadline=None)
@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=9),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=9),
)
def test_known_symbols_keep_their_entries_wherever_they_stand(old_symbols: str, new_symbols: str) -> None:
    old, new = vocabulary(old_symbols), vocabulary(new_symbols)
    before = weights(old.size)
    ids = known_ids(old, new)
    after = transferred(before, weights(new.size, first=-1e6), ids=ids, axes=AXES, seed=7)
    assert ids.num_added == len(set(new_symbols) - set(old_symbols))
    for name, axis in AXES.items():
        assert after[name].shape[axis] == new.size
        for symbol in set(old_symbols) & set(new_symbols):
            kept = before[name].take(old.encode(symbol)[0], axis)
            np.testing.assert_array_equal(after[name].take(new.encode(symbol)[0], axis), kept)
        for reserved in (old.unknown_id, old.end_id):
            np.testing.assert_array_equal(after[name].take(reserved, axis), before[name].take(reserved, axis))
    np.testing.assert_array_equal(after["lstm_1/kernel"], before["lstm_1/kernel"])


def test_a_vocabulary_in_another_order_and_back_changes_nothing() -> None:
    old, between = vocabulary("adgk"), vocabulary("abcdefghijk")
    before = weights(old.size)
    there = transferred(before, weights(between.size), ids=known_ids(old, between), axes=AXES, seed=1)
    back = transferred(there, weights(old.size), ids=known_ids(between, old), axes=AXES, seed=2)
    for name, value in before.items():
        np.testing.assert_array_equal(back[name], value)


def test_new_entries_lie_around_the_mean_of_the_known_ones_and_differ() -> None:
    old, new = vocabulary("abcdefgh"), vocabulary("abcdéß")
    rng = np.random.default_rng(4)
    before = {name: rng.normal(3.0, 0.5, value.shape) for name, value in weights(old.size).items()}
    after = transferred(before, weights(new.size), ids=known_ids(old, new), axes=AXES, seed=1)
    known = before["embedding/embeddings"][:6]  # UNKNOWN, END, a, b, c, d; without the dropped e, f, g, h.
    added = after["embedding/embeddings"][new.encode("éß")]
    np.testing.assert_allclose(added, np.tile(known.mean(axis=0), (2, 1)), atol=0.2)
    assert (added[0] != added[1]).all()
    again = transferred(before, weights(new.size), ids=known_ids(old, new), axes=AXES, seed=1)
    np.testing.assert_array_equal(again["embedding/embeddings"], after["embedding/embeddings"])


def test_reserved_ids_are_new_if_the_old_vocabulary_has_none() -> None:
    old, new = vocabulary("ab", separator=" "), vocabulary(" ab")
    ids = known_ids(old, new)
    assert ids.new.tolist() == [2, 3, 4]
    assert ids.old.tolist() == [0, 1, 2]
    assert ids.num_added == 2


def test_a_condition_is_known_if_its_column_and_value_are() -> None:
    def conditioned(*values: str) -> Vocabulary:
        conditions = (Condition(column="label", values=values),)
        return Vocabulary.from_counts({97: 1}, unit="characters", conditions=conditions)

    ids = known_ids(conditioned("1", "5"), conditioned("2", "5"))
    assert ids.new.tolist() == [0, 1, 2, 3, 5]  # UNKNOWN, END, a, none, and 5.
    assert ids.old.tolist() == [0, 1, 2, 3, 5]


def test_weights_that_the_old_model_lacks_keep_their_initial_values() -> None:
    old = vocabulary("ab")
    before, initial = weights(old.size), weights(old.size, first=900)
    del before["logits/kernel"], before["logits/bias"]
    after = transferred(before, initial, ids=known_ids(old, old), axes=AXES, seed=0)
    np.testing.assert_array_equal(after["logits/bias"], initial["logits/bias"])
    np.testing.assert_array_equal(after["embedding/embeddings"], before["embedding/embeddings"])


def test_other_layers_and_other_units_are_refused() -> None:
    old = vocabulary("ab")
    wider = weights(old.size) | {"lstm_1/kernel": np.zeros((3, 24), np.float32)}
    with pytest.raises(UserError, match=r"lstm_1/kernel has the shape \(3, 24\) and the model's \(3, 20\); start from"):
        transferred(wider, weights(old.size), ids=known_ids(old, old), axes=AXES, seed=0)
    with pytest.raises(UserError, match=r"reads bytes and the windows hold characters; ingest with windows"):
        known_ids(Vocabulary(unit="bytes", symbols=(97,)), old)
