"""Marks: how they change a text, and that the text is restored exactly."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.corpus.cleaning import normalize_prompt
from textgen.corpus.marks import ALL_CAPITALS, CAPITAL, MARK_RULES, NUMBER, REPEAT, mark, mark_rules, unmark
from textgen.spec import CorpusSpec

RULES = ("mark_numbers", "mark_all_capitals", "mark_capitals", "mark_repeats")
MARKS = CAPITAL + ALL_CAPITALS + REPEAT + NUMBER
SHOWN = str.maketrans({CAPITAL: "^", ALL_CAPITALS: "~", REPEAT: "*", NUMBER: "#"})
TRICKY = st.text(st.sampled_from("aabBzZ55 .İıßẞςσΣǅǆé\n" + MARKS), max_size=40)
ANY = st.one_of(TRICKY, st.text(max_size=60), st.text(st.sampled_from("aA" + MARKS), max_size=20))


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("Paris in May", "^paris in ^may"),
        ("NASA and McDonald, iPhone", "~nasa and ^mc^donald, i^phone"),
        ("I AM", "^i ~am"),
        ("ÉTÉ ΟΔΟΣ", "~été ~οδοσ"),
        ("so soooo", "so so*0"),
        ("wait.....", "wait.*1"),
        ("oops...", "oops..."),
        ("a" * 13 + "b" * 14 + "c" * 17, "a*9b*9bc*9c*0"),
        ("in 1984, 3.5", "in #1984, #3.#5"),
        ("WOOOOOW 10000", "~wo*1w #10*0"),
    ],
)
def test_marks_of_each_rule(text: str, marked: str) -> None:
    assert mark(text, RULES).translate(SHOWN) == marked


@settings(deadline=None)
@given(ANY, st.permutations(RULES), st.integers(0, 4))
def test_every_text_is_restored_for_all_rules_in_any_order(text: str, order: list[str], count: int) -> None:
    assert unmark(mark(text, order[:count]), order[:count]) == text


@settings(deadline=None)
@given(ANY, st.permutations(RULES))
def test_a_prefix_of_a_marked_text_restores_a_prefix_of_the_text(text: str, order: list[str]) -> None:
    shown = [unmark(text[:stop], order) for stop in range(len(text) + 1)]
    assert all(longer.startswith(shorter) for shorter, longer in itertools.pairwise(shown))


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_doubles_its_own_code_point_and_no_other(rule: str) -> None:
    assert sorted(mark(c, [rule]) for c in MARKS) != sorted(MARKS)
    assert sum(mark(c, [rule]) == 2 * c for c in MARKS) == 1
    assert sum(mark(c, [rule]) == c for c in MARKS) == 3


def test_a_mark_in_an_invalid_position_is_dropped() -> None:
    assert unmark(f"a{CAPITAL} b{ALL_CAPITALS}.{REPEAT}x{NUMBER}", RULES) == "a b.x"


def test_only_marking_rules_are_inverted() -> None:
    rules = ("control", "mark_capitals", "lower", "mark_repeats")
    assert mark_rules(rules) == ("mark_capitals", "mark_repeats")
    assert unmark(mark("Yes", rules), rules) == "Yes"
    assert mark("Yes", ("lower",)) == unmark("Yes", ("lower",)) == "Yes"


def test_a_prompt_is_marked_as_the_corpus_is() -> None:
    spec = CorpusSpec(rules=("nfc", *RULES))
    assert set(MARK_RULES) <= set(spec.rules)
    assert normalize_prompt("The NASA", spec).translate(SHOWN) == "^the ~nasa"
