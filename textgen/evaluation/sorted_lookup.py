"""Numbers of keys among sorted ones: by a table where the keys are few enough for one, else by search."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.int64]


def numbers_of(keys: Keys, *, sorted_keys: Keys, table: npt.NDArray[Any] | None) -> Keys:
    """Returns where keys stand among the sorted ones, -1 for those that are not there; same shape.

    `table`, where there is one, holds that number for every possible key.
    """
    if table is not None:
        return table[keys].astype(np.int64)
    if not len(sorted_keys):
        return np.full(len(keys), -1, dtype=np.int64)
    numbers = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return np.where(sorted_keys[numbers] == keys, numbers, -1)
