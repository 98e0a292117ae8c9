"""Words <-> ids: the vocabulary of a bag of words.

A word is a run of letters, digits and underscores (`\\w`), with apostrophes inside; the typographic apostrophe reads as
the plain one. Everything else separates words and has no id. Case stays as it is: the cleaning rule `lower` changes it.
"""

from __future__ import annotations

import functools
import heapq
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.errors import UserError
from textgen.windows.vocabulary import Ids, Vocabulary

WORD = re.compile(r"\w+(?:'\w+)*")
TYPOGRAPHIC_APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
NUM_RESERVED = 2


@dataclass(frozen=True, kw_only=True)
class WordVocabulary(Vocabulary):
    """The words that have ids, the most frequent first; its symbols are their ranks."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.words)) != len(self.words) or len(self.words) != len(self.symbols):
            raise UserError("the vocabulary's words are not distinct; it was edited or damaged")

    @classmethod
    def of_words(cls, words: Iterable[str]) -> WordVocabulary:
        """Builds the vocabulary of words in the order of their ids."""
        words = tuple(words)
        return cls(unit="words", symbols=tuple(range(len(words))), words=words)

    @classmethod
    def from_word_counts(
        cls, counts: Mapping[str, int], *, min_count: int = 1, max_size: int | None = None
    ) -> WordVocabulary:
        """Builds the vocabulary of the words that occur at least `min_count` times, at most `max_size` ids of them.

        The most frequent words stay, and come first; of equally frequent ones those that sort first.
        """
        kept = [(-count, word) for word, count in counts.items() if count >= min_count]
        ordered = sorted(kept) if max_size is None else heapq.nsmallest(max_size - NUM_RESERVED, kept)
        return cls.of_words(word for _, word in ordered)

    @property
    def num_unseen(self) -> int:
        """Words that have no id: without number, so that UNKNOWN cannot be charged for naming one."""
        raise UserError("a vocabulary of words measures no text; use windows.unit=characters for a language model")

    def encode(self, text: str) -> Ids:
        """Returns the ids of a text's words, shape [num_words]; UNKNOWN for those that have none."""
        table = self._id_of
        return np.array([table.get(word, 0) for word in words_of(text)], dtype=self.id_dtype)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Returns the words of ids joined by a space: U+FFFD for UNKNOWN, nothing for END."""
        names = ("\N{REPLACEMENT CHARACTER}", None, *self.words)
        return " ".join(name for i in np.asarray(ids).tolist() if (name := names[i]) is not None)

    def missing(self, text: str) -> list[str]:
        """Returns the distinct words of `text` that have no id, in the order of the text."""
        return [word for word in dict.fromkeys(words_of(text)) if word not in self._id_of]

    def to_dict(self) -> dict[str, Any]:
        """Returns what `vocabulary_from_dict` reads: JSON-ready."""
        return {"unit": self.unit, "words": list(self.words)}

    @functools.cached_property
    def _id_of(self) -> dict[str, int]:
        return {word: rank + NUM_RESERVED for rank, word in enumerate(self.words)}


def vocabulary_from_dict(values: Mapping[str, Any]) -> Vocabulary:
    """Builds the vocabulary of any unit from its `to_dict`'s result."""
    return WordVocabulary.of_words(values["words"]) if values["unit"] == "words" else Vocabulary.from_dict(values)


def words_of(text: str) -> list[str]:
    """Returns the words of a text in order."""
    return WORD.findall(text.replace(TYPOGRAPHIC_APOSTROPHE, "'"))


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Returns how often each word stands in the texts.

    Memory grows with the distinct words alone, at about 150 bytes each: 15 MB for the 110,000 of 33 million characters
    of reviews.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words_of(text))
    return counts
