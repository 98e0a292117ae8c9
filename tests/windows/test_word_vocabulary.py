"""Words to ids and back, and which words have an id."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import UserError
from textgen.windows.vocabulary import END_ID, UNKNOWN_ID, Vocabulary
from textgen.windows.word_vocabulary import WordVocabulary, count_words, vocabulary_from_dict, words_of

TEXTS = st.lists(st.text("ab'’ .é1_ש", max_size=12), max_size=8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's a 'fine' film, isn’t it?", ["It's", "a", "fine", "film", "isn't", "it"]),
        ("rock'n'roll '90s 10/10 snake_case", ["rock'n'roll", "90s", "10", "10", "snake_case"]),
        ("שלום, עולם! naïve", ["שלום", "עולם", "naïve"]),
        (" ... '' ", []),
    ],
)
def test_a_word_is_a_run_of_letters_digits_and_underscores_with_apostrophes_inside(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(TEXTS, st.integers(1, 3), st.integers(3, 9))
def test_the_most_frequent_words_have_the_first_ids_in_any_counting_order(
    texts: list[str], min_count: int, max_size: int
) -> None:
    counts = count_words(texts)
    vocabulary = WordVocabulary.from_word_counts(counts, min_count=min_count, max_size=max_size)
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    expected = [word for word in ordered if counts[word] >= min_count][: max_size - 2]
    assert vocabulary.words == tuple(expected)
    assert vocabulary.size == len(expected) + 2 <= max_size
    assert (
        WordVocabulary.from_word_counts(count_words(texts[::-1]), min_count=min_count, max_size=max_size) == vocabulary
    )
    unbounded = WordVocabulary.from_word_counts(counts, min_count=min_count)
    assert unbounded.words[: len(expected)] == vocabulary.words


@given(TEXTS, TEXTS)
def test_words_without_an_id_are_unknown(known: list[str], texts: list[str]) -> None:
    vocabulary = WordVocabulary.from_word_counts(count_words(known))
    for text in texts:
        words, ids = words_of(text), vocabulary.encode(text)
        assert ids.dtype == vocabulary.id_dtype
        assert [place == UNKNOWN_ID for place in ids.tolist()] == [word not in vocabulary.words for word in words]
        assert END_ID not in ids.tolist()
        assert vocabulary.decode(ids) == " ".join(word if word in vocabulary.words else "\ufffd" for word in words)
        assert vocabulary.missing(text) == list(dict.fromkeys(word for word in words if word not in vocabulary.words))


def test_ids_follow_the_ranks_and_end_is_not_a_word() -> None:
    vocabulary = WordVocabulary.of_words(["the", "film", "is"])
    assert vocabulary.encode("the film the end").tolist() == [2, 3, 2, UNKNOWN_ID]
    assert vocabulary.decode([2, 3, END_ID]) == "the film"
    assert (vocabulary.size, vocabulary.end_id, vocabulary.unknown_id, vocabulary.num_reserved) == (5, 1, 0, 2)


@pytest.mark.parametrize(("num_words", "dtype"), [(254, np.uint8), (255, np.uint16), (2**16 - 1, np.uint32)])
def test_ids_have_the_narrowest_type(num_words: int, dtype: type) -> None:
    vocabulary = WordVocabulary.of_words(str(number) for number in range(num_words))
    assert vocabulary.id_dtype == dtype
    assert vocabulary.encode(str(num_words - 1)).tolist() == [vocabulary.size - 1]


@given(TEXTS)
def test_a_vocabulary_of_any_unit_round_trips_through_json(texts: list[str]) -> None:
    words = WordVocabulary.from_word_counts(count_words(texts))
    characters = Vocabulary(unit="characters", symbols=(97, 0x5D0))
    for vocabulary in (words, characters):
        assert vocabulary_from_dict(json.loads(json.dumps(vocabulary.to_dict(), ensure_ascii=False))) == vocabulary


def test_an_edited_vocabulary_is_an_error() -> None:
    with pytest.raises(UserError, match="words are not distinct"):
        vocabulary_from_dict({"unit": "words", "words": ["b", "a", "b"]})


def test_words_cannot_be_used_to_score_text() -> None:
    with pytest.raises(UserError, match=r"cannot be used to score text; use windows\.unit=characters"):
        _ = WordVocabulary.of_words(["a"]).num_unseen
