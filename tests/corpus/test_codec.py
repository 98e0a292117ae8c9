"""Texts on their way to a model and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.corpus.codec import TextCodec
from textgen.corpus.marks import CAPITAL, MARK_RULES
from textgen.spec import CorpusSpec

RULES = ("lower", "mark_repeats")


def test_the_default_converts_nothing() -> None:
    codec = TextCodec()
    assert codec.encode("A  b&amp;") == codec.decode("A  b&amp;") == codec.shown("A  b&amp;") == "A  b&amp;"
    assert codec.decoder() is None
    assert not codec.has_marks


def test_a_prompt_is_cleaned_as_its_corpus_was_and_comes_back_without_marks() -> None:
    codec = TextCodec.of(CorpusSpec(rules=("nfc", "mark_capitals")))
    assert codec.encode("Tome\u0301 I") == f"{CAPITAL}tom\xe9 {CAPITAL}i"
    assert codec.decode(f"{CAPITAL}tom") == "Tom"
    assert codec.shown("Tome\u0301") == "Tom\xe9"
    assert codec.has_marks


def test_texts_of_a_corpus_get_its_marks_and_no_other_rule() -> None:
    codec = TextCodec.of_marks(("html", "lower", "mark_capitals"))
    assert codec.encode("Tom &amp;") == f"{CAPITAL}tom &amp;"
    assert codec.mark_rules == ("mark_capitals",)


@given(text=st.text(max_size=40), cut=st.integers(0, 40), rules=st.permutations(list(MARK_RULES)))
def test_a_text_that_grows_is_decoded_to_the_same(text: str, cut: int, rules: list[str]) -> None:
    codec = TextCodec.of_marks(rules)
    written = codec.encode(text)
    assert codec.decode(written) == text
    decoder = codec.decoder()
    assert decoder is not None
    grown = decoder.added_by(written[:cut]) + decoder.added_by(written[cut:])
    assert codec.decode(written).startswith(grown)


@pytest.mark.parametrize("text", ["", "A", "sooooo GOOD"])
def test_what_is_shown_is_what_a_completion_could_hold(text: str) -> None:
    codec = TextCodec.of(CorpusSpec(rules=RULES))
    assert codec.shown(codec.shown(text)) == codec.shown(text) == text.lower()
