"""Counts the symbols of cleaned documents and encodes them as ids, a whole column at a time.

Letters: D documents, N symbols or ids of all documents, C conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textgen.corpus.splitting import drawn_shares
from textgen.windows.vocabulary import Codes, Ids, Unit, Vocabulary
from textgen.windows.word_vocabulary import count_words

PIECE_BYTES = 2**18
"""Bytes of text converted to code points at a time. The code points take up to four times as much and should fit in
cache."""


def count_symbols(texts: pa.StringArray, unit: Unit) -> Mapping[Any, int]:
    """Counts the code points (or UTF-8 bytes, or words) of texts."""
    if unit == "words":
        return count_words(text for piece in _pieces(texts) for text in piece.to_pylist())
    totals = np.zeros(256, dtype=np.int64)
    for piece in _pieces(texts):
        counts = np.bincount(_codes(_flat(piece), unit))
        if len(counts) > len(totals):
            totals = np.concatenate([totals, np.zeros(len(counts) - len(totals), dtype=np.int64)])
        totals[: len(counts)] += counts
    return {int(code): int(totals[code]) for code in np.flatnonzero(totals)}


def encode_documents(texts: pa.StringArray, vocabulary: Vocabulary, *, opening: Ids | None = None) -> pa.ChunkedArray:
    """Returns the ids of each text followed by END or the separator, as binary values of the id type, shape [D].

    `opening` gives the control ids that precede each text, shape [D, C]; None means no controls.
    """
    if opening is None:
        opening = np.empty((len(texts), 0), vocabulary.id_dtype)
    encoded = []
    start = 0
    for piece in _pieces(texts):
        encoded.append(_encode_piece(piece, vocabulary, opening[start : start + len(piece)]))
        start += len(piece)
    return pa.chunked_array(encoded, pa.binary())


def opening_ids(documents: pa.Table, vocabulary: Vocabulary, *, none_share: float = 0.0) -> Ids:
    """Returns the control ids that precede each document, shape [D, C].

    Args:
        documents: Table with the column `key` and the columns of the vocabulary's conditions.
        vocabulary: Defines the conditions.
        none_share: Share of documents conditioned on `none`, drawn by key, independently for each condition.
    """
    controls = np.zeros((documents.num_rows, len(vocabulary.conditions)), np.int64)
    for place, condition in enumerate(vocabulary.conditions):
        values = documents[condition.column].combine_chunks()
        numbers = pc.fill_null(pc.index_in(values, value_set=pa.array(condition.values, pa.string())), -1)
        is_conditioned = drawn_shares(documents["key"], place=place) >= none_share
        controls[:, place] = np.where(is_conditioned, 1 + np.asarray(numbers), 0)
    return vocabulary.control_ids(controls)


def closing_ids(vocabulary: Vocabulary) -> npt.NDArray[np.unsignedinteger]:
    """Returns the ids that follow every document: END, or the separator's ids."""
    if vocabulary.separator is not None:
        return vocabulary.encode(vocabulary.separator)
    return np.array([vocabulary.end_id], dtype=vocabulary.id_dtype)


def _encode_piece(texts: pa.StringArray, vocabulary: Vocabulary, opening: Ids) -> pa.BinaryArray:
    closing = closing_ids(vocabulary)
    if vocabulary.unit == "words":
        encoded = (np.concatenate([vocabulary.encode(text), closing]) for text in texts.to_pylist())
        return pa.array([ids.tobytes() for ids in encoded], pa.binary())
    lengths = pc.utf8_length(texts) if vocabulary.unit == "characters" else pc.binary_length(texts)
    # [D + 1]: offset of each document, including opening and closing ids.
    num_others = opening.shape[1] + len(closing)
    starts = np.concatenate([[0], np.cumsum(np.asarray(lengths, dtype=np.int64) + num_others)])
    ids = np.empty(starts[-1], dtype=vocabulary.id_dtype)  # [N]
    is_text = np.ones(len(ids), dtype=np.bool_)
    for place, control_ids in enumerate(opening.T):
        ids[starts[:-1] + place] = control_ids
        is_text[starts[:-1] + place] = False
    for place, closing_id in enumerate(closing):
        at = starts[1:] - len(closing) + place
        ids[at] = closing_id
        is_text[at] = False
    ids[is_text] = vocabulary.encode_codes(_codes(_flat(texts), vocabulary.unit).astype(np.uint32))
    offsets = (starts * vocabulary.id_dtype.itemsize).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(ids)])


def _pieces(texts: pa.StringArray) -> Iterator[pa.StringArray]:
    """Divides texts into pieces of about PIECE_BYTES."""
    if not len(texts):
        return
    offsets = _offsets(texts)
    start = 0
    while start < len(texts):
        stop = int(np.searchsorted(offsets, offsets[start] + PIECE_BYTES))
        stop = min(max(stop, start + 1), len(texts))
        yield texts.slice(start, stop - start)
        start = stop


def _offsets(texts: pa.StringArray) -> npt.NDArray[np.int32]:
    """Returns the offset of each text in the values, and the end of the last, shape [D + 1]."""
    return np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]


def _flat(texts: pa.StringArray) -> memoryview:
    """Returns the concatenated UTF-8 of all texts, without a copy."""
    offsets = _offsets(texts)
    values = texts.buffers()[2]
    return memoryview(values)[int(offsets[0]) : int(offsets[-1])] if values is not None else memoryview(b"")


def _codes(content: memoryview, unit: Unit) -> Codes | npt.NDArray[np.uint8]:
    """Returns code points or byte values; for ASCII they are the same."""
    as_bytes = np.frombuffer(content, np.uint8)
    if unit == "bytes" or not (as_bytes.size and as_bytes.max() >= 0x80):
        return as_bytes
    return np.frombuffer(bytes(content).decode().encode("utf-32-le"), "<u4")
