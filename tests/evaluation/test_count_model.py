"""The count model: probabilities by hand, a brute-force equivalent, and counts independent of chunks."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.evaluation import count_model
from textgen.evaluation.count_model import CountModel

START = 1
small_texts = st.lists(st.integers(0, 3), max_size=40)


def count(train: list[int], scored: list[int], *, order: int, vocab_size: int = 4) -> CountModel:
    model = CountModel(scored, order=order, vocab_size=vocab_size, start_id=START)
    model.count(np.array(train, dtype=np.uint8))
    return model


def brute_force(train: list[int], scored: list[int], *, order: int, vocab_size: int) -> list[float]:
    """Computes Witten-Bell by its definition, one id at a time, from the shortest context to the longest."""
    used = sorted({*train, *scored})
    seen: Counter[tuple[tuple[int, ...], int]] = Counter()
    text = [START] * order + train
    for place in range(order, len(text)):
        for length in range(order + 1):
            seen[(tuple(text[place - length : place]), text[place])] += 1
    probabilities = []
    text = [START] * order + scored
    for place in range(order, len(text)):
        probability = 1 / vocab_size
        for length in range(order + 1):
            counts = {other: seen[(tuple(text[place - length : place]), other)] for other in used}
            distinct = sum(n > 0 for n in counts.values())
            if distinct:
                probability = (counts[text[place]] + distinct * probability) / (sum(counts.values()) + distinct)
        probabilities.append(probability)
    return probabilities


def test_one_context_by_hand() -> None:
    # The text `2 2 3`: the ids 2, 2, 3 occur after START (twice) and after 2 (once).
    model = count([2, 2, 3], [2, 3], order=1, vocab_size=4)
    empty_2 = (2 + 2 / 4) / (3 + 2)
    empty_3 = (1 + 2 / 4) / (3 + 2)
    start_2 = (1 + 1 * empty_2) / (1 + 1)  # START was followed by 2, once.
    two_3 = (1 + 2 * empty_3) / (2 + 2)  # 2 was followed by 2 and by 3.
    assert model.probabilities() == pytest.approx([start_2, two_3])
    assert model.probabilities(order=0) == pytest.approx([empty_2, empty_3])
    assert model.nats() == pytest.approx(-math.log(start_2) - math.log(two_3))


def test_without_training_text_every_id_is_equally_likely() -> None:
    model = CountModel([2, 0, 1], order=3, vocab_size=5, start_id=START)
    assert model.probabilities() == pytest.approx([1 / 5] * 3)


def test_no_text_costs_nothing() -> None:
    assert count([1, 2, 3], [], order=2).nats() == 0


@given(train=small_texts, scored=small_texts, order=st.integers(0, 4))
def test_equals_the_definition(train: list[int], scored: list[int], order: int) -> None:
    expected = brute_force(train, scored, order=order, vocab_size=4)
    np.testing.assert_allclose(count(train, scored, order=order).probabilities(), expected, rtol=1e-12)
    np.testing.assert_allclose(count(train, scored, order=4).probabilities(order=order), expected, rtol=1e-12)


@given(train=small_texts, scored=small_texts)
def test_one_pass_gives_the_cost_of_every_order(train: list[int], scored: list[int]) -> None:
    costs = count(train, scored, order=4).nats_by_order()
    assert costs == [count(train, scored, order=order).nats() for order in range(5)]


@given(train=small_texts, context=st.lists(st.integers(0, 3), max_size=6), order=st.integers(0, 4))
def test_probabilities_sum_to_one_after_any_context(train: list[int], context: list[int], order: int) -> None:
    after_context = [count(train, [*context, next_id], order=order).probabilities()[-1] for next_id in range(4)]
    assert sum(after_context) == pytest.approx(1, abs=1e-12)
    assert min(after_context) > 0


@given(train=small_texts, scored=small_texts, cuts=st.lists(st.integers(0, 40), max_size=5))
def test_chunks_of_any_size_give_the_same_counts(train: list[int], scored: list[int], cuts: list[int]) -> None:
    whole = count(train, scored, order=3)
    chunked = CountModel(scored, order=3, vocab_size=4, start_id=START)
    for chunk in np.split(np.array(train, dtype=np.uint8), sorted(min(cut, len(train)) for cut in cuts)):
        chunked.count(chunk)
    np.testing.assert_array_equal(chunked.probabilities(), whole.probabilities())


def test_tables_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(7)
    alphabet = generator.choice(2**16, size=5, replace=False)
    train, scored = (alphabet[generator.integers(0, 5, size)].astype(np.uint16) for size in (300, 70))
    monkeypatch.setattr(count_model, "PIECE_IDS", 37)
    monkeypatch.setattr(count_model, "MAX_TABLE_ENTRIES", 2**16)  # Only the first level fits a table.
    model = CountModel(scored, order=5, vocab_size=2**16, start_id=START)
    model.count(train)
    expected = brute_force(train.tolist(), scored.tolist(), order=5, vocab_size=2**16)
    np.testing.assert_allclose(model.probabilities(), expected, rtol=1e-12)


def test_learns_a_regular_text_and_longer_contexts_help() -> None:
    train = [2, 3, 2, 2] * 200
    costs = [count(train, train[:40], order=5).nats(order=order) / 40 for order in (0, 1, 2, 3, 5)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.2 < 0.5 < costs[0]
