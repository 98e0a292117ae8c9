"""Maps words to ids and back: the vocabulary of a bag of words.

A word is a run of letters, digits and underscores (`\\w`), with apostrophes inside. A typographic apostrophe counts as
a plain one. Everything else separates words and has no id. Case is preserved unless the cleaning rule `lower` is used.
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
    """The words that have ids, most frequent first. The symbols are their ranks."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.words)) != len(self.words) or len(self.words) != len(self.symbols):
            raise UserError("the vocabulary's words are not distinct; it was edited or damaged")

    @classmethod
    def of_words(cls, words: Iterable[str]) -> WordVocabulary:
        """Builds a vocabulary from words in the order of their ids."""
        words = tuple(words)
        return cls(unit="words", symbols=tuple(range(len(words))), words=words)

    @classmethod
    def from_word_counts(
        cls, counts: Mapping[str, int], *, min_count: int = 1, max_size: int | None = None
    ) -> WordVocabulary:
        """Builds the vocabulary of words that occur at least `min_count` times, with at most `max_size` ids.

        The most frequent words are kept and come first; ties are broken alphabetically.
        """
        kept = [(-count, word) for word, count in counts.items() if count >= min_count]
        ordered = sorted(kept) if max_size is None else heapq.nsmallest(max_size - NUM_RESERVED, kept)
        return cls.of_words(word for _, word in ordered)

    @property
    def num_unseen(self) -> int:
        """Always an error: the number of unseen words is unbounded, so UNKNOWN has no defined cost."""
        raise UserError(
            "a vocabulary of words cannot be used to score text; use windows.unit=characters for a language model"
        )

    def encode(self, text: str) -> Ids:
        """Returns the ids of a text's words, shape [num_words], with UNKNOWN for words without an id."""
        table = self._id_of
        return np.array([table.get(word, 0) for word in words_of(text)], dtype=self.id_dtype)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Returns the words of ids joined by spaces, with U+FFFD for UNKNOWN and nothing for END."""
        names = ("\N{REPLACEMENT CHARACTER}", None, *self.words)
        return " ".join(name for i in np.asarray(ids).tolist() if (name := names[i]) is not None)

    def missing(self, text: str) -> list[str]:
        """Returns the distinct words of `text` without an id, in order of occurrence."""
        return [word for word in dict.fromkeys(words_of(text)) if word not in self._id_of]

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values for `vocabulary_from_dict`."""
        return {"unit": self.unit, "words": list(self.words)}

    @functools.cached_property
    def _id_of(self) -> dict[str, int]:
        return {word: rank + NUM_RESERVED for rank, word in enumerate(self.words)}


def vocabulary_from_dict(values: Mapping[str, Any]) -> Vocabulary:
    """Builds a vocabulary of any unit from the result of `to_dict`."""
    return WordVocabulary.of_words(values["words"]) if values["unit"] == "words" else Vocabulary.from_dict(values)


def words_of(text: str) -> list[str]:
    """Returns the words of a text in order."""
    return WORD.findall(text.replace(TYPOGRAPHIC_APOSTROPHE, "'"))


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Counts the words of texts.

    Memory is about 150 bytes per distinct word: 15 MB for the 110,000 distinct words in 33 million characters of
    reviews.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words_of(text))
    return counts
