"""Texts end between graphemes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.generation.graphemes import whole_length

PARTS = (
    "a",
    "e\u0301\u0302",
    "ש\u05b8",
    "👩\u200d👩\u200d👧",
    "👍🏽",
    "🇮🇱",
    "❤\ufe0f",
    "क\u093f",
    "\r\n",
    " ",
    "\u0646\u200c",
)


@pytest.mark.parametrize("part", PARTS)
def test_what_belongs_together_stays_whole(part: str) -> None:
    for limit in range(1, len(part)):
        assert whole_length(f"x{part}y", 1 + limit) == 1
    assert whole_length(f"x{part}y", 1 + len(part)) == 1 + len(part)
    assert whole_length(f"x{part}", 99) == 1 + len(part)


def test_flags_are_counted_in_pairs() -> None:
    assert [whole_length("🇮🇱🇫🇷🇩🇪", limit) for limit in range(7)] == [0, 0, 2, 2, 4, 4, 6]


@given(parts=st.lists(st.sampled_from(PARTS), max_size=12), limit=st.integers(0, 40))
def test_the_longest_prefix_of_whole_graphemes_is_found(parts: list[str], limit: int) -> None:
    lengths = [0]
    for part in parts:
        lengths.append(lengths[-1] + len(part))
    assert whole_length("".join(parts), limit) == max(length for length in lengths if length <= limit)


@given(text=st.text(max_size=30), limit=st.integers(0, 30))
def test_no_text_ends_before_a_mark(text: str, limit: int) -> None:
    length = whole_length(text, limit)
    assert length <= min(limit, len(text))
    if 0 < length < len(text):
        assert unicodedata.category(text[length]) not in ("Mn", "Mc", "Me")
