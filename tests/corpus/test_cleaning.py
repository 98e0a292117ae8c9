"""Cleaning rules: each on its own, in the spec's order, and applied to prompts."""

from __future__ import annotations

import re
import unicodedata

import pyarrow as pa
import pytest
import stopwords
from hypothesis import given
from hypothesis import strategies as st

from textgen.corpus.cleaning import FILE_RULES, FILTERS, TEXT_RULES, clean, normalize_prompt
from textgen.spec import RULE_NAMES, CorpusSpec

DEFAULT = CorpusSpec()


def applied(rule: str, *texts: str) -> list[str]:
    return TEXT_RULES[rule](pa.array(texts, pa.string())).to_pylist()


def cleaned(texts: list[str], spec: CorpusSpec) -> tuple[list[str], int, dict[str, int]]:
    result = clean(pa.table({"text": pa.array(texts, pa.string()), "row": range(len(texts))}), spec)
    return result.kept["text"].to_pylist(), result.empty.num_rows, dict(result.dropped)


def test_every_rule_of_the_spec_has_its_function() -> None:
    assert {*TEXT_RULES, *FILTERS, *FILE_RULES} == set(RULE_NAMES)


def test_html_unescapes_once_and_breaks_lines() -> None:
    assert applied("html", "a &amp;lt; b &#34;c&#34;", "one<br />two<BR>three</br>", "AT&T <b>x</b>") == [
        'a &lt; b "c"',
        "one\ntwo\nthree\n",
        "AT&T <b>x</b>",
    ]


def test_control_keeps_tab_line_feed_and_joiners() -> None:
    family = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}"
    assert applied("control", "\ufeffa\x00b\x1fc\x7f\x9fd", "1\r\n2\r3\x0b4\u20285\x856", f"\t{family}\n\u200fש") == [
        "abcd",
        "1\n2\n3\n4\n5\n6",
        f"\t{family}\n\u200fש",
    ]


def test_nfc_composes() -> None:
    assert applied("nfc", "cafe\N{COMBINING ACUTE ACCENT}", "é") == ["café", "é"]


def test_lower_covers_every_alphabet_with_case() -> None:
    assert applied("lower", "ÀÉ Straße ΑΒ שלום 😀 MIXED") == ["àé straße αβ שלום 😀 mixed"]


def test_words_removes_english_stop_words() -> None:
    texts = [
        "The whale -- and I, Ishmael_2 -- said: 'don't!'",
        "of the and to",
        "a man, A plan;\nanother the\tTHE canal",
        "ש\u05b8לום, cafe\u0301!",
    ]
    assert applied("words", *texts) == [
        "whale Ishmael_2 said don t",
        "",
        "man plan another canal",
        "ש\u05b8לום cafe\u0301",
    ]


@given(st.text(alphabet="abIt h.-\n'éש1_"))
def test_words_equals_a_loop_over_tokens(text: str) -> None:
    stop = set(stopwords.get_stopwords("english"))
    expected = " ".join(word for word in re.findall(r"\w+", text) if word.lower() not in stop)
    assert applied("words", text) == [expected]


ODD = "a\t\n\r\x0b\x0c\x1c\x1f \x85\xa0\u2003\u2028\u2029\u3000\x00\x7f\ufeff"
"""A letter, and white space and control characters of many kinds."""
SPACE = "[\t \xa0\u1680\u2000-\u200a\u202f\u205f\u3000]"


@given(st.lists(st.text(alphabet=ODD), max_size=4))
def test_whitespace_and_control_equal_simple_expressions(texts: list[str]) -> None:
    def spaced(text: str) -> str:
        lined = re.sub(" ?\n ?", "\n", re.sub(f"{SPACE}+", " ", text))
        return re.sub("\n{3,}", "\n\n", lined).strip()

    def controlled(text: str) -> str:
        broken = re.sub("\r\n|[\r\x0b\x0c\x85\u2028\u2029]", "\n", text)
        return re.sub("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff]", "", broken)

    assert applied("whitespace", *texts) == [spaced(text) for text in texts]
    assert applied("control", *texts) == [controlled(text) for text in texts]


def test_whitespace_keeps_paragraphs() -> None:
    assert applied("whitespace", "  a \t b\u00a0c  ", "x \n y", "p\n \n\n\n q\n", "d\u2003e", "fine as it is") == [
        "a b c",
        "x\ny",
        "p\n\nq",
        "d e",
        "fine as it is",
    ]


def test_only_complete_bytes_literals_are_decoded() -> None:
    texts = [r"b'caf\xc3\xa9'", r'''b"it's \xe2\x80\xa6"''', "b'half", "a b'c'", r"b'\xff'", "b'x' + b'y'", "best"]
    assert applied("bytes_literal", *texts) == ["café", "it's …", *texts[2:]]


def test_drop_containing_counts_what_it_drops() -> None:
    spec = CorpusSpec(rules=("drop_containing",), drop_containing=("http", "&gt"))
    assert cleaned(["see http://x", "a &gt b", "keep", "HTTP stays"], spec) == (
        ["keep", "HTTP stays"],
        0,
        {"drop_containing": 2},
    )


def test_length_counts_characters_and_keeps_empty_texts() -> None:
    spec = CorpusSpec(rules=("length",), min_document_chars=2, max_document_chars=3)
    assert cleaned(["", "א", "אב", "😀😀😀", "four"], spec) == (["אב", "😀😀😀"], 1, {"length": 2})


def test_rules_apply_in_the_order_of_the_spec() -> None:
    early = CorpusSpec(rules=("drop_containing", "lower"), drop_containing=("bad",))
    late = CorpusSpec(rules=("lower", "drop_containing"), drop_containing=("bad",))
    assert cleaned(["BAD", "bad"], early) == (["bad"], 0, {"drop_containing": 1})
    assert cleaned(["BAD", "bad"], late) == ([], 0, {"drop_containing": 2})


def test_other_columns_follow_their_text() -> None:
    records = pa.table({"text": ["  ", "a", "xx", "b"], "row": [1, 2, 3, 4]})
    result = clean(records, CorpusSpec(max_document_chars=1))
    assert result.kept.to_pydict() == {"text": ["a", "b"], "row": [2, 4]}
    assert result.empty["row"].to_pylist() == [1]


def test_other_categories_are_dropped_and_counted_before_the_rules() -> None:
    records = pa.table({"text": ["a", "", "b", "cc", "d"], "category": ["x", "y", None, "z", "x"], "row": range(5)})
    result = clean(records, CorpusSpec(keep_categories=("x", "z"), max_document_chars=1))
    assert result.kept["row"].to_pylist() == [0, 4]
    assert dict(result.dropped) == {"keep_categories": 2, "length": 1}
    assert result.empty.num_rows == 0


def test_cleaning_no_records_gives_none() -> None:
    empty = pa.table({"text": pa.array([], pa.string()), "row": pa.array([], pa.int64())})
    assert clean(empty, DEFAULT).kept.num_rows == 0


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    rules = tuple(rule for rule in DEFAULT.rules if rule not in ("html", "bytes_literal"))
    spec = CorpusSpec(rules=rules)
    kept, _, _ = cleaned([text], spec)
    again, _, _ = cleaned(kept, spec)
    assert again == kept


@given(st.text(alphabet=st.characters(categories=["Lu", "Ll", "Lo", "So", "Nd"])))
def test_letters_and_symbols_are_unchanged(text: str) -> None:
    spec = CorpusSpec(rules=("control", "nfc", "whitespace"))
    kept, _, _ = cleaned([f"<{text}>"], spec)
    assert kept == [unicodedata.normalize("NFC", f"<{text}>")]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [(DEFAULT.rules, " é &amp; http "), ((), " E\u0301\x00 &amp; HTTP "), (("lower",), " e\u0301\x00 &amp; http ")],
)
def test_only_character_rules_apply_to_a_prompt(rules: tuple[str, ...], expected: str) -> None:
    spec = CorpusSpec(rules=rules, drop_containing=("http",))
    assert normalize_prompt(" E\u0301\x00 &amp; HTTP ", spec) == expected
