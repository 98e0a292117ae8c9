"""The sums of a scored text, divided only at the end.

The divisor of every model is characters + ENDs. If ids are bytes, characters are counted by their first bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.windows.vocabulary import Vocabulary

UNKNOWN_BYTES = len("\N{REPLACEMENT CHARACTER}".encode())
"""Size of a character without an id: the original is not known, so it counts as the character it decodes to."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The sums of scoring a text. The tallies of its parts add up to the tally of the whole."""

    nats: float = 0.0
    """Cost of all ids in nats; UNKNOWN includes the cost of choosing the symbol among all symbols without an id."""
    num_ids: int = 0
    num_characters: int = 0
    """Characters + ENDs."""
    num_bytes: int = 0
    """UTF-8 bytes of the text, and one per END."""
    num_correct: int = 0
    """Ids that were the most probable ones; UNKNOWN never counts as correct."""
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
        """Nats per character; NaN without text."""
        return self.nats / self.num_characters if self.num_characters else math.nan

    @property
    def bits_per_character(self) -> float:
        """The loss in bits."""
        return self.loss / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """Bits per UTF-8 byte; NaN without text."""
        return self.nats / (self.num_bytes * math.log(2)) if self.num_bytes else math.nan

    @property
    def perplexity(self) -> float:
        """exp(loss); infinity if that overflows."""
        try:
            return math.exp(self.loss)
        except OverflowError:
            return math.inf

    @property
    def accuracy(self) -> float:
        """Share of ids that were the most probable ones; NaN without text."""
        return self.num_correct / self.num_ids if self.num_ids else math.nan

    @property
    def unknown_rate(self) -> float:
        """Share of ids that are UNKNOWN; NaN without text."""
        return self.num_unknown / self.num_ids if self.num_ids else math.nan


class TextSizes:
    """Counts the characters and bytes of ids with a table."""

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
        """Returns the tally of ids (any shape) that cost `nats`, without the cost of choosing UNKNOWN's symbol."""
        num_unknown = 0 if self._unknown_id is None else int(np.count_nonzero(ids == self._unknown_id))
        return Tally(
            nats=nats + num_unknown * self._unknown_nats,
            num_ids=ids.size,
            num_characters=int(self._characters[ids].sum()),
            num_bytes=int(self._bytes[ids].sum()),
            num_correct=num_correct,
            num_unknown=num_unknown,
        )
