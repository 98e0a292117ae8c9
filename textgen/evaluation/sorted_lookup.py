"""Finds the indices of keys in a sorted array, by a table if one fits and by binary search otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.int64]


def numbers_of(keys: Keys, *, sorted_keys: Keys, table: npt.NDArray[Any] | None) -> Keys:
    """Returns the indices of keys in `sorted_keys`, -1 for missing ones; same shape.

    `table`, if given, holds the index of every possible key.
    """
    if table is not None:
        return table[keys].astype(np.int64)
    if not len(sorted_keys):
        return np.full(len(keys), -1, dtype=np.int64)
    numbers = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return np.where(sorted_keys[numbers] == keys, numbers, -1)
