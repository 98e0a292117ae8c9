"""Incremental unmarking gives the same result as unmarking the whole text, in linear time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.corpus import unmarking
from textgen.corpus.marks import ALL_CAPITALS, CAPITAL, MARK_RULES, NUMBER, REPEAT, mark, unmark
from textgen.corpus.unmarking import Unmarking

MARKS = CAPITAL + ALL_CAPITALS + REPEAT + NUMBER
TEXTS = st.one_of(
    st.text(st.sampled_from("aabzZ5590 .ßςé\n" + 3 * MARKS), max_size=40), st.text(max_size=30), st.text("ab" + MARKS)
)
RULES = st.permutations(tuple(MARK_RULES)).flatmap(lambda order: st.integers(0, 4).map(lambda count: order[:count]))


@given(st.lists(TEXTS, max_size=6), RULES)
def test_pieces_add_up_to_the_whole(pieces: list[str], rules: list[str]) -> None:
    growing, read = Unmarking(rules), ""
    shown = ""
    for piece in pieces:
        shown += growing.added_by(piece)
        read += piece
        assert shown == unmark(read, rules)


@given(TEXTS, TEXTS, TEXTS, RULES)
def test_copies_are_independent(prompt: str, one: str, other: str, rules: list[str]) -> None:
    first = Unmarking(rules)
    begun = first.added_by(prompt)
    second = first.copy()
    assert begun + first.added_by(one) == unmark(prompt + one, rules)
    assert begun + second.added_by(other) == unmark(prompt + other, rules)


@pytest.mark.parametrize("text", ["AB" * 300, "Abc " * 150, "a" * 600, MARKS * 150, "\ue001" * 5 + "ab" * 290])
def test_every_character_is_read_once_by_each_rule(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = tuple(MARK_RULES)
    num_read = 0
    inverse_read = unmarking._Inverse.read

    def counted(self: unmarking._Inverse, piece: str) -> str:
        nonlocal num_read
        num_read += len(piece)
        return inverse_read(self, piece)

    monkeypatch.setattr(unmarking._Inverse, "read", counted)
    marked = mark(text, rules)
    growing = Unmarking(rules)
    assert "".join(growing.added_by(marked[start : start + 7]) for start in range(0, len(marked), 7)) == text
    assert num_read <= 2 * len(rules) * max(len(marked), len(text))  # Intermediate texts are longer.
