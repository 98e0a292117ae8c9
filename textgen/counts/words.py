"""Contexts of words: the beginning of the current word, the character before it, and the words before that.

They reach further than contexts of a fixed number of ids and are as frequent as the words are. The same function serves
NumPy arrays and TensorFlow tensors.

Letters: L ids of text, N positions, V vocabulary.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.counts.contexts import BITS_PER_ID
from textgen.windows.vocabulary import Vocabulary

Array = npt.NDArray[Any]
REACH = 32
"""Ids that a context looks back at: too few for the current word and two before it in 1 of 1,800 places of film
reviews."""
CONTEXT_BITS = 56
"""With the id that follows, a context fills 64 bits."""
POSITIONS_AT_ONCE = 2**18
"""Positions whose contexts are computed at once; the arrays are of 2 MB each."""
_MULTIPLIERS = (1_000_003, -7046029254386353131)
"""Odd numbers; the second has 64 bits, as a signed integer."""


def word_flags(vocabulary: Vocabulary) -> Array:
    """Returns 1 for each id that belongs to words, and 0 for the others: [V] uint8.

    Letters, numbers, combining marks and apostrophes do. With bytes as ids, so do all bytes of other than ASCII.
    """
    flags = np.zeros(vocabulary.size, np.uint8)
    for number, symbol in enumerate(vocabulary.symbols, start=vocabulary.num_reserved):
        is_part = vocabulary.unit == "bytes" and symbol >= 128
        flags[number] = is_part or chr(symbol) in "'’" or unicodedata.category(chr(symbol))[0] in "LNM"
    return flags


@dataclass(frozen=True, kw_only=True)
class Operations:
    """What NumPy and TensorFlow call differently; all work along axis 0."""

    cumulative_sum: Callable[[Any], Any]
    cumulative_product: Callable[[Any], Any]
    sum: Callable[[Any], Any]
    integers: Callable[[Any], Any]
    """Turns false and true into 0 and 1, int64."""
    shift_right: Callable[[Any, int], Any]


NUMPY = Operations(
    cumulative_sum=functools.partial(np.cumsum, axis=0),
    cumulative_product=functools.partial(np.cumprod, axis=0),
    sum=functools.partial(np.sum, axis=0),
    integers=lambda flags: flags.astype(np.int64),
    shift_right=np.right_shift,
)


def word_contexts(recent: Any, flags: Any, *, num_words: int, operations: Operations = NUMPY) -> list[Any]:
    """Returns the contexts of each position with 1 to `num_words` words before the current one, each [N] int64.

    They are numbers of 56 bits, made of the ids of these words and, of what separates two words, the last id.

    Args:
        recent: the last id of each position, the one before it, and so on: [REACH, N] int64.
        flags: 1 for ids that belong to words and 0 for others, [1 + REACH, N] int64; the first row is 1 throughout.
        num_words: words before the current one in the longest contexts, at least 1.
        operations: NumPy's or TensorFlow's.
    """
    nearer, here = flags[:-1], flags[1:]
    # Reading backwards, a position is in word 0, the current one, then in a gap, then in word 1, and so on.
    number = operations.cumulative_sum(here * (1 - nearer))
    is_last_of_gap = (1 - here) * nearer
    contexts = []
    for words in range(1, num_words + 1):
        is_held = here * operations.integers(number <= words) + is_last_of_gap * operations.integers(number < words)
        powers = operations.cumulative_product(1 + is_held * (_MULTIPLIERS[0] - 1))
        mixed = operations.sum(is_held * powers * (recent + 1)) * _MULTIPLIERS[1]
        contexts.append(operations.shift_right(mixed, 64 - CONTEXT_BITS) & (2**CONTEXT_BITS - 1))
    return contexts


def word_keys(text: Array, *, flags: Array, num_words: int) -> Array:
    """Returns the context before each id of a text from the REACH-th on, shifted left by the bits of an id.

    Most contexts are found by sums over the whole text, a few by looking back from each position.

    Args:
        text: [REACH + N] uint8.
        flags: as `word_flags` returns them.
        num_words: words before the current one.

    Returns:
        [N] uint64.
    """
    keys = np.zeros(len(text) - REACH, np.uint64)
    for start in range(0, len(keys), POSITIONS_AT_ONCE):
        ids = text[start : min(start + POSITIONS_AT_ONCE + REACH, len(text)) - 1]
        mixed, reach = _summed_contexts(ids, flags[ids] > 0, num_words=num_words)
        mixed, reach = mixed[REACH - 1 :], reach[REACH - 1 :]
        far = np.flatnonzero(reach > REACH)
        recent = ids[far + REACH - 1 - np.arange(REACH)[:, None]].astype(np.int64)  # [REACH, positions]
        is_in_word = np.concatenate([np.ones_like(recent[:1]), flags[recent].astype(np.int64)])
        *_, mixed[far] = word_contexts(recent, is_in_word, num_words=num_words)
        keys[start : start + len(mixed)] = mixed.astype(np.uint64) << np.uint64(BITS_PER_ID)
    return keys


def _summed_contexts(ids: Array, is_in_word: Array, *, num_words: int) -> tuple[Array, Array]:
    """Returns the context after each id of a text, and how many ids it looks back at; more than REACH if unknown.

    Without the ids of gaps except each one's last, what a context holds stands side by side, and its polynomial is a
    difference of two sums from the beginning of the text on, times a power.

    Args:
        ids: [L] uint8.
        is_in_word: [L] bool.
        num_words: words before the current one.
    """
    places = np.arange(len(ids))
    begins = np.flatnonzero(is_in_word & ~np.append(False, is_in_word[:-1]))  # [words]
    word = np.searchsorted(begins, places, side="right") - 1  # The last word that has begun, [L].
    in_words = np.maximum.accumulate(np.where(is_in_word, places, -1))  # The last id of a word so far, [L].
    first_word = word - num_words + ~is_in_word  # In a gap, the current word is empty.
    is_known = (first_word >= 0) & (in_words >= 0)
    first = begins[np.maximum(first_word, 0)] if len(begins) else np.zeros_like(places)
    is_kept = is_in_word | np.append(is_in_word[1:], False)
    rank = np.cumsum(is_kept) - 1  # Among the kept ids, [L].
    kept = ids[is_kept].astype(np.int64) + 1
    power = np.cumprod(np.full(len(kept) + 1, _MULTIPLIERS[0]))  # M, M ** 2, ...
    inverse = np.cumprod(np.append(1, np.full(len(kept), pow(_MULTIPLIERS[0], -1, 2**64)).astype(np.int64)))
    sums = np.cumsum(np.append(0, kept * inverse[:-1]))
    last = np.maximum(in_words, 0)
    mixed = (sums[rank[last] + 1] - sums[rank[first]]) * power[rank[last]]
    mixed = np.where(is_in_word, mixed, (mixed + ids + 1) * _MULTIPLIERS[0])
    mixed = mixed * _MULTIPLIERS[1] >> (64 - CONTEXT_BITS) & (2**CONTEXT_BITS - 1)
    return mixed, np.where(is_known, places - first + 1, REACH + 1)
