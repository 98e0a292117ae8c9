"""The count model in plain Python, one context at a time: what the tables and their look-up must agree with."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from textgen.counts.build import build_table
from textgen.counts.contexts import NUM_FOLDS, block_ids_of
from textgen.counts.table import CountTable
from textgen.counts.words import REACH
from textgen.progress import Say, silent

FIRST_SPACE = 3
"""Smaller ids belong to words."""
Context = tuple[object, ...]


def table_of(
    text: Sequence[int],
    *,
    order: int,
    vocab_size: int,
    num_words: int = 0,
    start_id: int = 0,
    max_bytes: int = 2**30,
    say: Say = silent,
) -> CountTable:
    """Returns the table of a text whose ids from FIRST_SPACE on separate words."""
    ids = np.array(text)
    return build_table(
        lambda start, stop: ids[start:stop],
        len(ids),
        order=order,
        num_words=num_words,
        word_flags=(np.arange(vocab_size) < FIRST_SPACE).astype(np.uint8),
        start_id=start_id,
        max_bytes=max_bytes,
        say=say,
    )


class SlowCounts:
    """Counts of contexts of 0 to `order` ids and of words; those of 4 ids or more, or of words, that occur once are not
    kept."""

    def __init__(
        self, text: Sequence[int], *, order: int, vocab_size: int, num_words: int = 0, start_id: int = 0
    ) -> None:
        self.order, self.vocab_size, self.num_words = order, vocab_size, num_words
        padded = [0] * (REACH - 1) + [start_id, *text]
        block = block_ids_of(len(text))
        self.counts: defaultdict[Context, Counter[int]] = defaultdict(Counter)
        self.in_fold: defaultdict[tuple[int, Context], Counter[int]] = defaultdict(Counter)
        for place in range(len(text)):
            for context in self._contexts(padded[place : place + REACH]):
                self.counts[context][text[place]] += 1
                self.in_fold[place // block % NUM_FOLDS, context][text[place]] += 1

    def probabilities(self, context: Sequence[int], *, fold: int | None = None, max_children: int = 999) -> list[float]:
        """Returns the probability of every id after a context; with a fold, without its counts of long contexts."""
        result = [1 / self.vocab_size] * self.vocab_size
        padded = [0] * (REACH - len(context)) + list(context)
        for length, shorter in enumerate(self._contexts(padded)):
            counts = self.counts.get(shorter, Counter())
            if length > 3 and sum(counts.values()) < 2:
                continue
            kept = sorted(counts, key=lambda one: (-counts[one], one))
            if length > 2:
                kept = kept[:max_children]
            without = self.in_fold[fold, shorter] if fold is not None and length > 2 else Counter()
            result = self._mixed(result, counts - without, kept)
        return result

    def _contexts(self, ids: Sequence[int]) -> list[Context]:
        """Returns the contexts after REACH ids, from the shortest on: tuples of ids, then tuples of words."""
        found: list[Context] = [tuple(ids[len(ids) - length :]) for length in range(self.order + 1)]
        for number in range(1, self.num_words + 1):
            words, place = [], len(ids)
            for _ in range(number + 1):
                end = place
                while place > 0 and ids[place - 1] < FIRST_SPACE:
                    place -= 1
                words.append(tuple(ids[place:end]))
                if len(words) < 2 * number:
                    words.append(tuple(ids[max(place - 1, 0) : place]))
                while place > 0 and ids[place - 1] >= FIRST_SPACE:
                    place -= 1
            found.append(("words", *words))
        return found

    @staticmethod
    def _mixed(shorter: list[float], counts: Counter[int], kept: list[int]) -> list[float]:
        total = sum(counts.values())
        if not total:
            return shorter
        kept = [one for one in kept if counts[one]]
        taken = {one: {1: 0.9, 2: 1.3}.get(counts[one], 1.6) for one in kept}
        rest = 1 - sum(shorter[one] for one in kept)
        others = total - sum(counts[one] for one in kept)
        result = [sum(taken.values()) / total * one for one in shorter]
        for one in range(len(shorter)):
            if one in taken:
                result[one] += (counts[one] - taken[one]) / total
            elif others:
                result[one] += others / total * shorter[one] / rest
        return result
