"""Transfers the weights of a model to another one with another vocabulary: arithmetic over arrays by name.

Letters: V ids of the new vocabulary, of which the old one has K.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.errors import UserError
from textgen.windows.vocabulary import Vocabulary

Array = np.ndarray[Any, Any]
NOISE_SHARE = 0.1
"""Standard deviation of new rows around the mean of the known rows, as a share of the known rows' own."""


@dataclass(frozen=True, kw_only=True)
class KnownIds:
    """The ids of a new vocabulary that an old one has too."""

    new: npt.NDArray[np.int64]
    """[K] their ids in the new vocabulary."""
    old: npt.NDArray[np.int64]
    """[K] their ids in the old vocabulary."""
    num_new: int
    """V: size of the new vocabulary."""

    @property
    def num_added(self) -> int:
        """Number of ids that the old vocabulary does not have."""
        return self.num_new - len(self.new)


def known_ids(old: Vocabulary, new: Vocabulary) -> KnownIds:
    """Returns the ids of `new` whose meaning `old` has too: the same symbol, condition, UNKNOWN, or END.

    Raises:
        UserError: the units differ, such as characters and bytes, so numbers mean different things.
    """
    if old.unit != new.unit:
        raise UserError(
            f"the checkpoint reads {old.unit} and the windows hold {new.unit}; "
            f"ingest with windows.unit={old.unit}, or start from another checkpoint"
        )
    old_names, new_names = _names(old), _names(new)
    old_ids = {name: number for number, name in enumerate(old_names)}
    pairs = [(number, old_ids[name]) for number, name in enumerate(new_names) if name in old_ids]
    ids = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return KnownIds(new=ids[:, 0], old=ids[:, 1], num_new=len(new_names))


def transferred(
    old: Mapping[str, Array],
    initial: Mapping[str, Array],
    *,
    ids: KnownIds,
    axes: Mapping[str, int],
    seed: int,
) -> dict[str, Array]:
    """Returns the weights that a model starts with, by name: the old ones wherever they mean the same.

    In variables with an entry per id, known ids keep theirs, and those of dropped ids are left out. A new id gets the
    mean of the known ones with a little noise, so that the unchanged layers treat it like any other symbol, neither
    likely nor odd. (UNKNOWN's entry would be the alternative, but it is untrained if the old corpus had no unknown
    symbol, and as an output it means that the symbol hardly ever occurs.)

    Args:
        old: the old model's weights by name.
        initial: the new model's initial weights by name; variables that `old` lacks keep these.
        ids: the known ids.
        axes: the axis with an entry per id, for each variable that has one.
        seed: of the noise.

    Raises:
        UserError: a layer has another shape.
    """
    result = {}
    for name, value in initial.items():
        if name not in old:
            result[name] = value
        elif name in axes:
            result[name] = _merged(old[name], ids, axis=axes[name], seed=seed ^ zlib.crc32(name.encode()))
        else:
            result[name] = old[name]
        if result[name].shape != value.shape:
            raise UserError(
                f"the checkpoint's {name} has the shape {result[name].shape} and the model's {value.shape}; "
                "start from a checkpoint with the same layers"
            )
    return result


def _merged(old: Array, ids: KnownIds, *, axis: int, seed: int) -> Array:
    rows = np.moveaxis(old, axis, 0)
    known = rows[ids.old]
    merged = np.empty((ids.num_new, *rows.shape[1:]), rows.dtype)
    noise = np.random.default_rng(seed).standard_normal(merged.shape) * NOISE_SHARE
    merged[:] = known.mean(axis=0) + noise * known.std(axis=0)
    merged[ids.new] = known
    return np.moveaxis(merged, 0, axis)


def _names(vocabulary: Vocabulary) -> list[Any]:
    """Returns the meaning of each id, [V]."""
    names: list[Any] = [None] * vocabulary.num_reserved
    if vocabulary.unknown_id is not None:
        names[vocabulary.unknown_id] = ("reserved", "UNKNOWN")  # A tuple, because "UNKNOWN" may also be a word.
    if vocabulary.end_id is not None:
        names[vocabulary.end_id] = ("reserved", "END")
    return [*names, *vocabulary.symbols, *vocabulary.control_names]
