"""Jensen-Shannon divergence of character 3-grams: by hand, and its properties."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.evaluation.divergence import divergence, jensen_shannon, ngram_counts

texts = st.lists(st.text(alphabet="abc", max_size=12), min_size=1, max_size=6).filter(
    lambda some: any(len(text) >= 3 for text in some)
)


def test_ngrams_span_no_two_texts() -> None:
    assert ngram_counts(["abcd", "ab", "bcd"]) == Counter({"abc": 1, "bcd": 2})
    assert ngram_counts(["abab"], length=2) == Counter({"ab": 2, "ba": 1})


def test_by_hand() -> None:
    # P = (1, 0), Q = (1/2, 1/2), M = (3/4, 1/4).
    half = (math.log2(1 / 0.75) + (0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25))) / 2
    assert divergence(["abc"], ["abc", "xyz"]) == pytest.approx(half)
    assert divergence(["abc", "abc"], ["xyz"]) == 1


@given(texts, texts)
def test_is_symmetric_and_between_0_and_1(first: list[str], second: list[str]) -> None:
    apart = divergence(first, second)
    assert 0 <= apart <= 1
    assert apart == pytest.approx(divergence(second, first), abs=1e-12)


@given(texts, st.integers(1, 4))
def test_is_0_for_equal_shares_whatever_the_number_of_texts(some: list[str], times: int) -> None:
    assert divergence(some, some * times) == pytest.approx(0, abs=1e-12)


@given(texts)
def test_is_1_without_shared_ngrams(some: list[str]) -> None:
    assert divergence(some, ["xyzxyz"]) == pytest.approx(1)


def test_without_ngrams_it_is_undefined() -> None:
    with pytest.raises(ValueError, match="3 characters"):
        jensen_shannon(Counter(), Counter({"abc": 1}))
