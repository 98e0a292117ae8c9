"""Repetitions counted by hand, and closing loops compared with a naive search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.evaluation.repetition import Loop, closing_loop, repeated_ngrams


@pytest.mark.parametrize(
    ("text", "repeated", "ngrams"),
    [
        ("serer serer serer serer serer serer serer", 3, 4),
        ("a b c d a b c d", 1, 5),
        ("one two three four", 0, 1),
        ("too short a", 0, 0),
        ("", 0, 0),
    ],
)
def test_repeated_ngrams_are_counted(text: str, repeated: int, ngrams: int) -> None:
    assert repeated_ngrams(text) == (repeated, ngrams)


def test_the_length_of_ngrams_is_a_parameter() -> None:
    assert repeated_ngrams("a b a b a", length=2) == (2, 4)


@pytest.mark.parametrize(
    ("text", "period", "num_chars"),
    [
        ("then serer serer serer", 6, 18),  # Starts at the space after `then`.
        ("serer serer serer", 6, 17),
        ("banana", 2, 5),
        ("wait...", 1, 3),
        ("abcabcab", 3, 8),
        ("aaaa", 1, 4),  # Not period 2, which covers as much.
        ("ab", 0, 0),
        ("a", 0, 0),
        ("", 0, 0),
    ],
)
def test_the_loop_at_the_end_is_found(text: str, period: int, num_chars: int) -> None:
    assert closing_loop(text) == Loop(period=period, num_chars=num_chars)


def naive_loop(text: str) -> Loop:
    """Tries every period with every suffix of the text."""
    found = [Loop(period=0, num_chars=0)]
    for period in range(1, len(text)):
        for num_chars in range(2 * period, len(text) + 1):
            end = text[len(text) - num_chars :]
            if end[period:] == end[:-period]:
                found.append(Loop(period=period, num_chars=num_chars))
    return max(found, key=lambda loop: (loop.num_chars, -loop.period))


@given(
    st.text("ab", max_size=30) | st.builds(lambda a, b, n: a + b * n, st.text("abc"), st.text("abc"), st.integers(0, 5))
)
def test_a_naive_search_finds_the_same_loop(text: str) -> None:
    assert closing_loop(text) == naive_loop(text)
