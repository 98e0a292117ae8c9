"""Copied passages, compared with a naive search, also over chunks of a long training text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.evaluation import copying
from textgen.evaluation.copying import CopiedRun, longest_runs
from textgen.windows.vocabulary import Ids

VOCAB_SIZE = 5


def ids(text: str) -> Ids:
    return np.array([ord(character) - ord("a") for character in text], dtype=np.uint8)


def runs(texts: list[str], train: str, *, piece_ids: int = 1000) -> list[CopiedRun]:
    pieces = [ids(train[start : start + piece_ids]) for start in range(0, len(train), piece_ids)]
    return longest_runs([ids(text) for text in texts], pieces, vocab_size=VOCAB_SIZE)


def naive_run(text: str, train: str) -> CopiedRun:
    found = [
        CopiedRun(start=start, num_ids=length)
        for length in range(1, len(text) + 1)
        for start in range(len(text) - length + 1)
        if text[start : start + length] in train
    ]
    return max(found, key=lambda run: (run.num_ids, -run.start), default=CopiedRun(start=0, num_ids=0))


def test_the_longest_passage_is_found_with_its_position() -> None:
    assert runs(["eabce", "ee", "", "dab", "bcdbc"], "abcdab") == [
        CopiedRun(start=1, num_ids=3),
        CopiedRun(start=0, num_ids=0),
        CopiedRun(start=0, num_ids=0),
        CopiedRun(start=0, num_ids=3),
        CopiedRun(start=0, num_ids=3),
    ]


def test_a_passage_spans_no_two_texts() -> None:
    assert [run.num_ids for run in runs(["ab", "cd"], "abcd")] == [2, 2]


@given(
    texts=st.lists(st.text("abc", max_size=12), max_size=4),
    train=st.text("abcd", max_size=60),
    piece_ids=st.integers(1, 70),
    in_tables=st.booleans(),
)
def test_a_naive_search_finds_the_same_passage(texts: list[str], train: str, piece_ids: int, in_tables: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "TABLE_LEVELS", 3 if in_tables else 0)
        assert runs(texts, train, piece_ids=piece_ids) == [naive_run(text, train) for text in texts]


def test_a_copy_of_hundreds_of_characters_is_measured_whole() -> None:
    drawn = np.random.default_rng(2)
    train = drawn.integers(0, VOCAB_SIZE, 30_000).astype(np.uint8)
    copy = np.concatenate([drawn.integers(0, VOCAB_SIZE, 50), train[11_900:12_600]]).astype(np.uint8)
    (run,) = longest_runs([copy], np.split(train, [12_000, 12_300]), vocab_size=VOCAB_SIZE)
    assert run.start + run.num_ids == 750
    assert 700 <= run.num_ids < 720  # The ids before the copy may equal those before its source by chance.
