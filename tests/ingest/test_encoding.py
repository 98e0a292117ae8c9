"""Counting and encoding of whole columns of texts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.ingest import encoding
from textgen.ingest.encoding import closing_ids, count_symbols, encode_documents
from textgen.windows.conditions import Condition
from textgen.windows.vocabulary import Unit, Vocabulary

UNITS: list[Unit] = ["characters", "bytes"]
texts_of = st.lists(st.text(max_size=12), max_size=8)


def column(texts: list[str], offset: int = 0) -> pa.StringArray:
    """Returns an array of the texts that is a slice of its buffers."""
    return pa.array(["skipped"] * offset + texts, pa.string()).slice(offset)


@pytest.mark.parametrize("unit", UNITS)
@given(texts=texts_of, offset=st.integers(0, 2))
def test_counts_equal_those_of_the_joined_text(unit: Unit, texts: list[str], offset: int) -> None:
    joined = "".join(texts)
    expected = Counter(joined.encode() if unit == "bytes" else map(ord, joined))
    assert count_symbols(column(texts, offset), unit) == expected


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("separator", [None, " ", "--", ""])
@given(texts=texts_of, offset=st.integers(0, 2))
def test_each_text_is_encoded_and_closed(unit: Unit, separator: str | None, texts: list[str], offset: int) -> None:
    vocabulary = Vocabulary.from_counts(count_symbols(column(texts), unit), unit=unit, separator=separator)
    found = encode_documents(column(texts, offset), vocabulary).to_pylist()
    closing = closing_ids(vocabulary)
    expected = [np.concatenate([vocabulary.encode(text), closing]).astype(vocabulary.id_dtype) for text in texts]
    assert found == [ids.tobytes() for ids in expected]


@pytest.mark.parametrize("unit", UNITS)
@given(texts=texts_of, offset=st.integers(0, 2), piece_bytes=st.integers(1, 40), data=st.data())
def test_controls_precede_each_text(
    unit: Unit, texts: list[str], offset: int, piece_bytes: int, data: st.DataObject
) -> None:
    conditions = (Condition(column="label", values=("1", "2")), Condition(column="category", values=("a",)))
    counts = count_symbols(column(texts), unit)
    vocabulary = Vocabulary.from_counts(counts, unit=unit, conditions=conditions)
    controls = [data.draw(st.tuples(st.integers(0, 2), st.integers(0, 1))) for _ in texts]
    opening = vocabulary.control_ids(np.array(controls, np.int64).reshape(-1, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "PIECE_BYTES", piece_bytes)
        found = encode_documents(column(texts, offset), vocabulary, opening=opening).to_pylist()
    expected = [
        np.concatenate([vocabulary.control_ids(told), vocabulary.encode(text), closing_ids(vocabulary)])
        for told, text in zip(controls, texts, strict=True)
    ]
    assert found == [ids.astype(vocabulary.id_dtype).tobytes() for ids in expected]


def test_symbols_outside_the_vocabulary_are_unknown() -> None:
    vocabulary = Vocabulary(unit="characters", symbols=(ord("a"), ord("ש")))
    assert encode_documents(column(["abש"]), vocabulary).to_pylist() == [bytes([2, 0, 3, 1])]


def test_large_vocabularies_have_wider_ids() -> None:
    texts = ["".join(map(chr, range(0x4E00, 0x4E00 + 300))), "a"]
    vocabulary = Vocabulary.from_counts(count_symbols(column(texts), "characters"), unit="characters")
    ids = [
        np.frombuffer(value, np.uint16).tolist() for value in encode_documents(column(texts), vocabulary).to_pylist()
    ]
    assert ids == [[*range(3, 303), 1], [2, 1]]


def test_long_columns_are_encoded_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["ab", "c" * 9, "", "é", "d" * 4]
    vocabulary = Vocabulary.from_counts(count_symbols(column(texts), "characters"), unit="characters")
    whole = encode_documents(column(texts), vocabulary)
    monkeypatch.setattr(encoding, "PIECE_BYTES", 5)
    pieces = encode_documents(column(texts), vocabulary)
    assert (whole.num_chunks, pieces.num_chunks) == (1, 2)  # The text that fills a piece belongs to it.
    assert pieces.to_pylist() == whole.to_pylist()
    assert count_symbols(column(texts), "characters") == Counter(map(ord, "".join(texts)))
