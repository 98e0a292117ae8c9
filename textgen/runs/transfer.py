"""Weights of one model as the beginning of another with another vocabulary: arithmetic over arrays by name.

Letters: V ids of the new vocabulary, K of them that the old one has too.
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
"""Spread of new rows around the mean of the known ones, as a share of the known rows' own spread."""


@dataclass(frozen=True, kw_only=True)
class KnownIds:
    """Which ids of a new vocabulary an old one has too, under which number."""

    new: npt.NDArray[np.int64]
    """[K] ids of the new vocabulary."""
    old: npt.NDArray[np.int64]
    """[K] their ids in the old one."""
    num_new: int
    """V: ids of the new vocabulary, known or not."""

    @property
    def num_added(self) -> int:
        """Ids that the old vocabulary does not have."""
        return self.num_new - len(self.new)


def known_ids(old: Vocabulary, new: Vocabulary) -> KnownIds:
    """Returns which ids of `new` mean in `old` what they mean in `new`: the same symbol, UNKNOWN, or END.

    Raises:
        UserError: the one is of characters and the other of bytes, whose numbers mean something else.
    """
    if old.unit != new.unit:
        raise UserError(
            f"the checkpoint reads {old.unit} and the windows hold {new.unit}; "
            f"ingest with windows.unit={old.unit}, or begin from another checkpoint"
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
    """Returns the weights that a model begins with, by its own names: the old ones wherever they mean the same.

    Of what has an entry for each id, known ids keep theirs and those of gone ones are left out. A new id gets the mean
    of the known ones with a little noise: for the layers that stay as they are, it is a symbol like any other, neither
    likely nor odd. (UNKNOWN's entry would be the other choice; but where the old corpus had no unknown symbol nobody
    trained it, and as an output it says that the symbol hardly occurs.)

    Args:
        old: weights by name.
        initial: the model's own initial weights by name; what `old` lacks stays as it is here.
        ids: which ids are known.
        axes: the variables that have an entry for each id, and along which axis.
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
                f"the checkpoint's {name} is {result[name].shape} and the model's {value.shape}; "
                "begin from a checkpoint with the same layers"
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
    """Returns what each id means, [V]."""
    names: list[Any] = [None] * vocabulary.num_reserved
    if vocabulary.unknown_id is not None:
        names[vocabulary.unknown_id] = ("reserved", "UNKNOWN")  # A word may be UNKNOWN too.
    if vocabulary.end_id is not None:
        names[vocabulary.end_id] = ("reserved", "END")
    return [*names, *vocabulary.symbols, *vocabulary.control_names]
