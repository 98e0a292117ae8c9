"""The vocabulary: text to ids and back, for any text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import UserError
from textgen.windows.vocabulary import END_ID, UNKNOWN_ID, Unit, Vocabulary, codes_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
MIXED = "שָׁלוֹם, e\u0301 𝔘𝔫𝔦 👩‍👩‍👧 \x00\n\U0010ffff"


def vocabulary_of(text: str, *, unit: Unit = "characters", separator: str | None = None) -> Vocabulary:
    """Returns the vocabulary of everything in a text."""
    return Vocabulary.from_counts(dict.fromkeys(codes_of(text, unit).tolist(), 1), unit=unit, separator=separator)


@given(TEXTS, st.sampled_from(["characters", "bytes"]), st.sampled_from([None, " ", "→→"]))
def test_encoding_and_decoding_restore_a_text(text: str, unit: Unit, separator: str | None) -> None:
    vocabulary = vocabulary_of(text, unit=unit, separator=separator)
    ids = vocabulary.encode(text)
    assert ids.dtype == vocabulary.id_dtype
    assert len(ids) == len(text if unit == "characters" else text.encode())
    assert vocabulary.decode(ids) == text
    assert ids.size == 0 or ids.min() >= vocabulary.num_reserved
    assert ids.size == 0 or ids.max() < vocabulary.size


def test_hebrew_emoji_and_combining_marks_are_restored() -> None:
    vocabulary = vocabulary_of(MIXED)
    assert vocabulary.decode(vocabulary.encode(MIXED[::-1])) == MIXED[::-1]
    assert vocabulary.size == len(set(MIXED)) + 2


@given(TEXTS)
def test_all_bytes_encode_any_text(text: str) -> None:
    vocabulary = Vocabulary(unit="bytes", symbols=tuple(range(256)))
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert (vocabulary.encode(text).astype(int) - 2).tolist() == list(text.encode())


@given(TEXTS, st.sets(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8))
def test_symbols_without_an_id_become_unknown(text: str, known: set[str]) -> None:
    vocabulary = vocabulary_of("".join(known))
    ids = vocabulary.encode(text)
    assert [int(i) == UNKNOWN_ID for i in ids] == [c not in known for c in text]
    assert vocabulary.decode(ids) == "".join(c if c in known else "\ufffd" for c in text)
    assert vocabulary.missing(text) == sorted(set(text) - known)


def test_without_reserved_ids_an_unknown_symbol_is_an_error() -> None:
    with pytest.raises(UserError, match=r"the character 'ש' is not in the vocabulary, .* remove it"):
        vocabulary_of("abc", separator=" ").encode("cabשת")
    with pytest.raises(UserError, match="the byte 0xd7 is not in the vocabulary"):
        vocabulary_of("abc", unit="bytes", separator=" ").encode("abש")
    assert vocabulary_of("abc", separator=" ").encode("c a").tolist() == [3, 0, 1]


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_a_lone_surrogate_is_an_error(unit: Unit) -> None:
    with pytest.raises(UserError, match=r"the text has '\\udcff' at position 2, which is not a character"):
        vocabulary_of("ab", unit=unit).encode("ab\udcff")


def test_ids_are_ordered_by_code_point() -> None:
    vocabulary = Vocabulary.from_counts({0x1F600: 9, 0x61: 1, 0x5D0: 5}, unit="characters")
    assert vocabulary.encode("aא😀").tolist() == [2, 3, 4]
    assert vocabulary.decode([4, END_ID, 2, UNKNOWN_ID]) == "😀a\ufffd"
    assert (vocabulary.end_id, vocabulary.unknown_id, vocabulary.start_id) == (1, 0, 1)


@pytest.mark.parametrize(("min_count", "expected"), [(1, "abc"), (2, "bc"), (3, "c"), (4, "")])
def test_rare_symbols_have_no_id(min_count: int, expected: str) -> None:
    counts = {ord("a"): 1, ord("b"): 2, ord("c"): 3}
    vocabulary = Vocabulary.from_counts(counts, unit="characters", min_count=min_count)
    assert "".join(map(chr, vocabulary.symbols)) == expected
    assert vocabulary.missing("abc") == [c for c in "abc" if c not in expected]
    assert vocabulary.encode("abcz").tolist()[3] == UNKNOWN_ID


def test_a_separator_has_ids_and_replaces_end() -> None:
    vocabulary = vocabulary_of("xy", separator="b\n")
    assert (vocabulary.num_reserved, vocabulary.end_id, vocabulary.unknown_id) == (0, None, None)
    assert vocabulary.symbols == tuple(map(ord, "\nbxy"))
    assert vocabulary.start_id == vocabulary.encode("\n")[0] == 0


@pytest.mark.parametrize(
    ("num_symbols", "separator", "dtype"),
    [
        (254, None, np.uint8),
        (255, None, np.uint16),
        (255, "\x00", np.uint8),
        (256, "\x00", np.uint8),
        (257, "\x00", np.uint16),
        (2**16 - 2, None, np.uint16),
        (2**16 - 1, None, np.uint32),
    ],
)
def test_ids_have_the_narrowest_type(num_symbols: int, separator: str | None, dtype: type) -> None:
    codes = [code for code in range(num_symbols + 2048) if not 0xD800 <= code < 0xE000][:num_symbols]
    vocabulary = Vocabulary(unit="characters", symbols=tuple(codes), separator=separator)
    assert vocabulary.id_dtype == dtype
    last = chr(codes[-1])
    assert vocabulary.encode(last).tolist() == [vocabulary.size - 1]
    assert vocabulary.decode(vocabulary.encode(last)) == last


@given(TEXTS, st.sampled_from(["characters", "bytes"]), st.sampled_from([None, " "]))
def test_a_vocabulary_round_trips_through_json(text: str, unit: Unit, separator: str | None) -> None:
    vocabulary = vocabulary_of(text, unit=unit, separator=separator)
    assert Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict(), ensure_ascii=False))) == vocabulary


def test_an_edited_vocabulary_is_an_error() -> None:
    with pytest.raises(UserError, match="not distinct and ascending"):
        Vocabulary.from_dict({"unit": "characters", "separator": None, "symbols": ["b", "a"]})


def test_num_unseen_counts_the_symbols_without_an_id() -> None:
    assert vocabulary_of("ab").num_unseen == sum(not 0xD800 <= code < 0xE000 for code in range(0x110000)) - 2
    assert vocabulary_of("é", unit="bytes").num_unseen == 254


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_invalid_utf8_and_unknown_bytes_become_the_replacement_character(unit: Unit) -> None:
    vocabulary = vocabulary_of("é", unit=unit)
    ids = vocabulary.encode("é")
    assert vocabulary.decode([*ids, UNKNOWN_ID, *ids]) == "é\ufffdé"
    if unit == "bytes":
        assert vocabulary.decode(ids[:1]) == "\ufffd"
