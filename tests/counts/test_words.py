"""Contexts of words: equal where the words are, whatever separates them, and the same from NumPy and TensorFlow."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from textgen.counts.contexts import BITS_PER_ID
from textgen.counts.words import POSITIONS_AT_ONCE, REACH, word_contexts, word_flags, word_keys
from textgen.windows.vocabulary import Vocabulary

FLAGS = np.array([1, 1, 1, 0, 0], np.uint8)
"""Ids 0 to 2 belong to words, 3 and 4 separate them."""


def contexts_of(*texts: list[int], num_words: int) -> list[int]:
    """Returns the context after each text, read after separators."""
    found = []
    for text in texts:
        padded = np.array([3] * (REACH - len(text)) + text + [0], np.uint8)
        found.append(int(word_keys(padded, flags=FLAGS, num_words=num_words)[0] >> np.uint64(BITS_PER_ID)))
    return found


def words_of(ids: list[int], num_words: int) -> tuple[Any, ...]:
    """Returns what a context holds, in plain Python: words and the ids right before them, the nearest first."""
    backwards, held, place = ids[::-1], [], 0
    for number in range(num_words + 1):
        start = place
        while place < len(backwards) and FLAGS[backwards[place]]:
            place += 1
        held.append(tuple(backwards[start:place]))
        if number < num_words:
            held.append(tuple(backwards[place : place + 1]))
        while place < len(backwards) and not FLAGS[backwards[place]]:
            place += 1
    return tuple(held)


@pytest.mark.parametrize("num_words", [1, 2])
def test_contexts_are_equal_where_their_words_are(num_words: int) -> None:
    text = np.random.default_rng(num_words).choice(5, 3000, p=[0.3, 0.2, 0.1, 0.3, 0.1]).astype(np.uint8)
    keys = word_keys(text, flags=FLAGS, num_words=num_words)
    by_words: defaultdict[tuple[Any, ...], set[int]] = defaultdict(set)
    for place, key in enumerate(keys.tolist(), start=REACH):
        by_words[words_of(text[place - REACH : place].tolist(), num_words)].add(key)
    assert len(keys) == 3000 - REACH
    assert len(by_words) > 300
    assert all(len(found) == 1 for found in by_words.values())
    assert len(set.union(*by_words.values())) == len(by_words)


def test_further_separators_and_earlier_words_do_not_matter() -> None:
    near, far = contexts_of([0, 1, 3, 2], [0, 1, 4, 4, 3, 2], num_words=1)
    assert near == far
    with_other, without = contexts_of([2, 3, 0, 1, 3, 2], [0, 1, 3, 2], num_words=1)
    assert with_other == without
    with_other, without = contexts_of([2, 3, 0, 1, 3, 2], [0, 1, 3, 2], num_words=2)
    assert with_other != without
    assert len(set(contexts_of([0, 3, 1], [0, 4, 1], [0, 3], [0, 1], [1, 0, 3, 1], num_words=1))) == 5


@pytest.mark.parametrize("probabilities", [[0.3, 0.25, 0.25, 0.1, 0.1], [0.1, 0.1, 0.1, 0.4, 0.3], [1, 0, 0, 0, 0]])
@pytest.mark.parametrize("num_words", [1, 2])
def test_sums_over_the_text_say_what_looking_back_says(num_words: int, probabilities: list[float]) -> None:
    text = np.random.default_rng(0).choice(5, 900, p=probabilities).astype(np.uint8)
    text[400:460] = 1  # A word longer than the reach.
    text[500:560] = 3  # And a gap.
    recent = text[np.arange(len(text) - REACH) + REACH - 1 - np.arange(REACH)[:, None]].astype(np.int64)
    flags = np.concatenate([np.ones_like(recent[:1]), FLAGS[recent].astype(np.int64)])
    expected = word_contexts(recent, flags, num_words=num_words)[-1]
    found = word_keys(text, flags=FLAGS, num_words=num_words)
    np.testing.assert_array_equal(found >> np.uint64(BITS_PER_ID), expected.astype(np.uint64))


def test_blocks_do_not_change_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    text = np.random.default_rng(0).integers(0, 5, 400).astype(np.uint8)
    whole = word_keys(text, flags=FLAGS, num_words=2)
    assert len(whole) < POSITIONS_AT_ONCE
    monkeypatch.setattr("textgen.counts.words.POSITIONS_AT_ONCE", 37)
    np.testing.assert_array_equal(word_keys(text, flags=FLAGS, num_words=2), whole)
    assert int(whole.max()) >= 2**60
    assert not (whole & np.uint64(255)).any()


@pytest.mark.tensorflow
def test_numpy_and_tensorflow_agree() -> None:
    tf = pytest.importorskip("tensorflow")
    from textgen.model.count_lookup import TENSORFLOW

    ids = np.random.default_rng(1).integers(0, 5, (REACH, 50))
    flags = np.concatenate([np.ones_like(ids[:1]), FLAGS[ids].astype(np.int64)])
    found = word_contexts(tf.constant(ids), tf.constant(flags), num_words=2, operations=TENSORFLOW)
    np.testing.assert_array_equal(found, word_contexts(ids, flags, num_words=2))
    assert len(found) == 2


def test_letters_numbers_marks_and_apostrophes_belong_to_words() -> None:
    text = sorted(set("a'’é5ש\u05b0 .-\n\ue001"))
    vocabulary = Vocabulary(unit="characters", symbols=tuple(map(ord, text)))
    flags = word_flags(vocabulary)
    assert [one for one, flag in zip(text, flags[vocabulary.num_reserved :], strict=True) if flag] == sorted(
        "a'’é5ש\u05b0"
    )
    assert not flags[: vocabulary.num_reserved].any()
    in_bytes = Vocabulary(unit="bytes", symbols=tuple("é a".encode()[i] for i in (2, 3, 1, 0)))
    assert word_flags(in_bytes)[in_bytes.num_reserved :].tolist() == [0, 1, 1, 1]
