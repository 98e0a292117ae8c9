"""Document keys and the assignment of documents to splits.

A key is a seeded 128-bit hash of the cleaned text, as 32 hexadecimal digits, and serves as the document's id. Keys are
uniform, so each split is a range of keys: `val` first, then `test`, then `train`. Documents are ordered by key.

With `test_categories`, for example for a split by time, the documents of these categories are held out: `test` consists
of exactly these, whatever their keys, and all others go to `val` and `train`. A text that occurs on both sides has one
key, so deduplication sees both copies and keeps the one that is not held out. Hence no text in `test` occurs in
`train`.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textgen.spec import CorpusSpec

KEY_SPACE = 2**128
FIRST_KEY = "0" * 32
AFTER_LAST_KEY = "g"
"""Sorts after every key."""
LARGEST_RAISED_SHARE = 0.1
"""Largest share of `val` or `test` that `min_split_documents` can cause."""


@dataclass(frozen=True, kw_only=True)
class KeyRange:
    """Keys from `start` (inclusive) to `stop` (exclusive)."""

    start: str
    stop: str

    def parts(self, num_parts: int) -> list[KeyRange]:
        """Divides the range into `num_parts` equal ranges."""
        if num_parts == 0:
            return []
        first, last = key_number(self.start), key_number(self.stop)
        bounds = [first + (last - first) * part // num_parts for part in range(num_parts + 1)]
        return [KeyRange(start=key_text(a), stop=key_text(b)) for a, b in itertools.pairwise(bounds)]


EVERY_KEY = KeyRange(start=FIRST_KEY, stop=AFTER_LAST_KEY)


def document_keys(texts: pa.StringArray, seed: int) -> pa.StringArray:
    """Returns the key of each cleaned text."""
    hashed = hashlib.blake2b(digest_size=16, key=seed.to_bytes(16, "little", signed=True))
    keys = []
    for text in texts.to_pylist():
        one = hashed.copy()
        one.update(text.encode())
        keys.append(one.hexdigest())
    return pa.array(keys, pa.string())


def drawn_shares(keys: pa.ChunkedArray, *, place: int) -> npt.NDArray[np.float64]:
    """Returns a uniform number in [0, 1) for each key, independent of the key's split, shape [num_keys].

    Each `place` (0 to 2) gives independent numbers: it uses its own eight digits, counted from the key's end.
    """
    stop = 32 - 8 * place
    return np.array([int(key[stop - 8 : stop], 16) for key in keys.to_pylist()], np.float64) / 2**32


def key_text(number: int) -> str:
    """Returns a number below 2**128 as a key; `AFTER_LAST_KEY` for any other."""
    return f"{number:032x}" if number < KEY_SPACE else AFTER_LAST_KEY


def key_number(key: str) -> int:
    """Returns the number that a key stands for; `KEY_SPACE` for `AFTER_LAST_KEY`."""
    return KEY_SPACE if key == AFTER_LAST_KEY else int(key, 16)


def lowest_keys(keys: Sequence[str], spec: CorpusSpec) -> list[str]:
    """Returns the bounded subset of the ascending, distinct `keys` that `split_ranges` may need."""
    least = spec.min_split_documents
    after_val = bisect.bisect_left(keys, key_text(_share(spec.val_share)))
    return sorted({*keys[: 2 * least + 1], *keys[after_val : after_val + least + 1]})


def split_ranges(lowest: Iterable[str], spec: CorpusSpec) -> dict[str, KeyRange]:
    """Returns the key range of each split.

    `val` and `test` take their shares of the key space, so a document stays in its split when the corpus grows. A share
    that gives fewer than `min_split_documents` is raised until it does, at most to a tenth. With `test_categories`, the
    range of `test` is all keys.

    Args:
        lowest: The union of `lowest_keys` over the parts of the corpus, which may overlap, without held-out documents.
        spec: Shares, bounds and categories.
    """
    keys = sorted(set(lowest))
    val_stop = _stop(keys, 0, spec.val_share, spec.min_split_documents)
    if spec.test_categories:
        return {
            "train": KeyRange(start=key_text(val_stop), stop=AFTER_LAST_KEY),
            "val": KeyRange(start=FIRST_KEY, stop=key_text(val_stop)),
            "test": EVERY_KEY,
        }
    test_stop = _stop(keys, val_stop, spec.test_share, spec.min_split_documents)
    return {
        "train": KeyRange(start=key_text(test_stop), stop=AFTER_LAST_KEY),
        "val": KeyRange(start=FIRST_KEY, stop=key_text(val_stop)),
        "test": KeyRange(start=key_text(val_stop), stop=key_text(test_stop)),
    }


def in_split(documents: pa.Table, split: str, keys: KeyRange, spec: CorpusSpec) -> pa.ChunkedArray:
    """Returns a mask of the documents in a split, given the split's key range or a part of it."""
    inside = pc.and_(pc.greater_equal(documents["key"], keys.start), pc.less(documents["key"], keys.stop))
    if not spec.test_categories:
        return inside
    held_out = is_held_out(documents, spec.test_categories)
    return pc.and_(inside, held_out if split == "test" else pc.invert(held_out))


def is_held_out(documents: pa.Table, test_categories: Sequence[str]) -> pa.ChunkedArray:
    """Returns a mask of the documents in one of the `test_categories`."""
    return pc.is_in(documents["category"], value_set=pa.array(test_categories, pa.string()))


def sort_by_key(documents: pa.Table, *, test_categories: Sequence[str] = ()) -> pa.Table:
    """Sorts documents by key. Of equal keys, held-out documents come last, and the others are in file order."""
    order = [("key", "ascending"), ("held_out", "ascending"), ("file", "ascending"), ("row", "ascending")]
    ranked = documents.append_column("held_out", is_held_out(documents, test_categories))
    return ranked.sort_by(order).drop_columns("held_out").combine_chunks()


def is_duplicate(documents: pa.Table) -> pa.BooleanArray:
    """Returns a mask of the documents, sorted by key, that have the same key as their predecessor."""
    keys = documents["key"].combine_chunks()
    if len(keys) == 0:
        return pa.array([], pa.bool_())
    return pa.concat_arrays([pa.array([False]), pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1))])


def _stop(keys: Sequence[str], start: int, share: float, least: int) -> int:
    if share == 0:
        return start
    enough = bisect.bisect_left(keys, key_text(start)) + least
    raised = int(keys[enough], 16) if enough < len(keys) else KEY_SPACE
    return min(max(start + _share(share), min(raised, start + _share(LARGEST_RAISED_SHARE))), KEY_SPACE)


def _share(share: float) -> int:
    return int(share * 2**53) * 2**75  # Exact: a float holds 53 bits.
