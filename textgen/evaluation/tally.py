"""Sums of a scored text, divided once at the end: sum, count, divide.

Every model's divisor is characters + ENDs. Where ids are bytes, characters are the bytes that begin one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.windows.vocabulary import Vocabulary

UNKNOWN_BYTES = len("\N{REPLACEMENT CHARACTER}".encode())
"""Size of a character without an id: which one it was is no longer known, so it counts as what it is decoded to."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What scoring adds up. Tallies of parts of a text add up to the tally of the whole."""

    nats: float = 0.0
    """Cost of all ids, in nats; for UNKNOWN, with the cost of naming the symbol among all that have no id."""
    num_ids: int = 0
    num_characters: int = 0
    """Characters + ENDs."""
    num_bytes: int = 0
    """UTF-8 bytes of the text, one for every END."""
    num_correct: int = 0
    """Ids that were the likeliest; UNKNOWN never counts as right."""
    num_unknown: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            nats=self.nats + other.nats,
            num_ids=self.num_ids + other.num_ids,
            num_characters=self.num_characters + other.num_characters,
            num_bytes=self.num_bytes + other.num_bytes,
            num_correct=self.num_correct + other.num_correct,
            num_unknown=self.num_unknown + other.num_unknown,
        )

    @property
    def loss(self) -> float:
        """Nats per character; NaN of no text."""
        return self.nats / self.num_characters if self.num_characters else math.nan

    @property
    def bits_per_character(self) -> float:
        """The loss in bits."""
        return self.loss / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """Bits per UTF-8 byte; NaN of no text."""
        return self.nats / (self.num_bytes * math.log(2)) if self.num_bytes else math.nan

    @property
    def perplexity(self) -> float:
        """exp(loss); infinite where that is no float any more."""
        try:
            return math.exp(self.loss)
        except OverflowError:
            return math.inf

    @property
    def accuracy(self) -> float:
        """Share of the ids that were the likeliest; NaN of no text."""
        return self.num_correct / self.num_ids if self.num_ids else math.nan

    @property
    def unknown_rate(self) -> float:
        """Share of the ids that are UNKNOWN; NaN of no text."""
        return self.num_unknown / self.num_ids if self.num_ids else math.nan


class TextSizes:
    """How many characters and bytes ids stand for, by table."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._unknown_id = vocabulary.unknown_id
        self._unknown_nats = math.log(max(vocabulary.num_unseen, 1))
        if vocabulary.unit == "bytes":
            begins = [(symbol & 0xC0) != 0x80 for symbol in vocabulary.symbols]  # 0b10...... continues a character.
            sizes = [1] * len(vocabulary.symbols)
            unknown_size = 1
        else:
            begins = [True] * len(vocabulary.symbols)
            sizes = [len(chr(symbol).encode()) for symbol in vocabulary.symbols]
            unknown_size = UNKNOWN_BYTES
        reserved = [unknown_size, 1][: vocabulary.num_reserved]  # UNKNOWN, END
        self._characters = np.array([True] * len(reserved) + begins, dtype=np.int64)  # [V]
        self._bytes = np.array(reserved + sizes, dtype=np.int64)  # [V]

    def tally(self, ids: npt.NDArray[Any], *, nats: float, num_correct: int = 0) -> Tally:
        """Returns the tally of ids (any shape) that cost `nats`, the naming of UNKNOWN not yet included."""
        num_unknown = 0 if self._unknown_id is None else int(np.count_nonzero(ids == self._unknown_id))
        return Tally(
            nats=nats + num_unknown * self._unknown_nats,
            num_ids=ids.size,
            num_characters=int(self._characters[ids].sum()),
            num_bytes=int(self._bytes[ids].sum()),
            num_correct=num_correct,
            num_unknown=num_unknown,
        )
