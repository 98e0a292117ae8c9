"""Document keys, and splits as ranges of keys."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.corpus.splitting import (
    AFTER_LAST_KEY,
    EVERY_KEY,
    FIRST_KEY,
    KeyRange,
    document_keys,
    drawn_shares,
    in_split,
    lowest_keys,
    split_ranges,
)
from textgen.spec import CorpusSpec


def some_keys(count: int, salt: str = "") -> list[str]:
    return sorted(hashlib.sha256(f"{salt}{number}".encode()).hexdigest()[:32] for number in range(count))


def sizes(keys: list[str], ranges: dict[str, KeyRange]) -> dict[str, int]:
    return {split: sum(r.start <= key < r.stop for key in keys) for split, r in ranges.items()}


def test_keys_depend_only_on_text_and_seed() -> None:
    texts = pa.array(["שלום", "b", "שלום"], pa.string())
    first, other = document_keys(texts, 1).to_pylist(), document_keys(texts, 2).to_pylist()
    assert first[0] == first[2] != first[1]
    assert not set(first) & set(other)
    assert first[1] == hashlib.blake2b(b"b", digest_size=16, key=(1).to_bytes(16, "little")).hexdigest()


@given(st.integers(0, 400), st.integers(0, 30), st.floats(0, 0.3), st.floats(0, 0.3))
@settings(max_examples=60, deadline=None)
def test_splits_cover_every_key_once(count: int, least: int, val_share: float, test_share: float) -> None:
    spec = CorpusSpec(min_split_documents=least, val_share=val_share, test_share=test_share)
    keys = some_keys(count)
    ranges = split_ranges(lowest_keys(keys, spec), spec)
    assert sum(sizes(keys, ranges).values()) == count
    assert (ranges["val"].start, ranges["train"].stop) == (FIRST_KEY, AFTER_LAST_KEY)
    assert ranges["val"].stop == ranges["test"].start
    assert ranges["test"].stop == ranges["train"].start


@given(
    st.lists(st.sampled_from(["a", "b", "c", None]), max_size=200),
    st.sampled_from([(), ("a",), ("b", "c")]),
    st.integers(0, 30),
    st.floats(0, 0.3),
)
@settings(max_examples=60, deadline=None)
def test_every_document_falls_into_one_split(
    categories: list[str | None], test_categories: tuple[str, ...], least: int, val_share: float
) -> None:
    spec = CorpusSpec(min_split_documents=least, val_share=val_share, test_categories=test_categories)
    keys = some_keys(len(categories))
    documents = pa.table({"key": pa.array(keys, pa.string()), "category": pa.array(categories, pa.string())})
    drawn = [key for key, category in zip(keys, categories, strict=True) if category not in test_categories]
    ranges = split_ranges(lowest_keys(drawn, spec), spec)
    inside = {split: in_split(documents, split, keys, spec).to_pylist() for split, keys in ranges.items()}
    assert [sum(splits) for splits in zip(*inside.values(), strict=True)] == [1] * len(keys)
    if test_categories:
        assert inside["test"] == [category in test_categories for category in categories]
        plain = dataclasses.replace(spec, test_categories=(), test_share=0.0)
        assert {split: r for split, r in ranges.items() if split != "test"} == {
            split: r for split, r in split_ranges(drawn, plain).items() if split != "test"
        }


def test_drawn_shares_are_uniform_and_independent() -> None:
    keys = pa.chunked_array([pa.array(some_keys(4000), pa.string())])
    shares = np.array([drawn_shares(keys, place=place) for place in range(3)])
    assert shares.min() >= 0
    assert shares.max() < 1
    assert shares.mean(axis=1) == pytest.approx([0.5] * 3, abs=0.02)
    assert np.corrcoef([*shares, range(4000)])[np.triu_indices(4, 1)] == pytest.approx([0] * 6, abs=0.06)


@given(st.integers(1, 600), st.integers(1, 25), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_parts_of_the_corpus_give_the_ranges_of_the_whole(count: int, least: int, num_pieces: int) -> None:
    spec = CorpusSpec(min_split_documents=least)
    keys = some_keys(count)
    pieces = [lowest_keys(keys[piece::num_pieces], spec) for piece in range(num_pieces)]
    assert split_ranges((key for piece in pieces for key in piece), spec) == split_ranges(keys, spec)


@pytest.mark.parametrize("least", [7, 20])
def test_splits_of_small_corpora_reach_the_minimum(least: int) -> None:
    spec = CorpusSpec(min_split_documents=least)
    keys = some_keys(500)
    found = sizes(keys, split_ranges(keys, spec))
    assert (found["val"], found["test"]) == (least, least)


def test_no_share_is_raised_above_a_tenth() -> None:
    spec = CorpusSpec(min_split_documents=100)
    ranges = split_ranges(some_keys(60), spec)
    assert float(int(ranges["val"].stop, 16)) / 2**128 == pytest.approx(0.1)
    assert float(int(ranges["test"].stop, 16)) / 2**128 == pytest.approx(0.2)


def test_large_corpora_take_their_shares() -> None:
    spec = CorpusSpec(val_share=0.02, test_share=0.05, min_split_documents=3)
    keys = some_keys(4000)
    found = sizes(keys, split_ranges(keys, spec))
    assert 60 <= found["val"] <= 100
    assert 160 <= found["test"] <= 240


def test_a_share_of_zero_stays_empty() -> None:
    spec = CorpusSpec(val_share=0.0, test_share=0.0)
    keys = some_keys(50)
    assert sizes(keys, split_ranges(keys, spec)) == {"train": 50, "val": 0, "test": 0}


def test_a_document_stays_in_its_split_when_the_corpus_grows() -> None:
    spec = CorpusSpec(min_split_documents=5)
    small = some_keys(2000)
    large = sorted(small + some_keys(5000, "more"))
    assert split_ranges(lowest_keys(small, spec), spec) == split_ranges(lowest_keys(large, spec), spec)


@given(st.integers(1, 40))
def test_parts_of_a_range_are_adjacent_and_even(num_parts: int) -> None:
    parts = EVERY_KEY.parts(num_parts)
    assert (parts[0].start, parts[-1].stop, len(parts)) == (FIRST_KEY, AFTER_LAST_KEY, num_parts)
    assert all(a.stop == b.start for a, b in itertools.pairwise(parts))
    widths = [(int(p.stop, 16) if p.stop != AFTER_LAST_KEY else 2**128) - int(p.start, 16) for p in parts]
    assert max(widths) - min(widths) <= 1
