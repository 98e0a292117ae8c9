"""The count model in plain Python, one context at a time: what the tables and their look-up must agree with."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from textgen.counts.build import build_table
from textgen.counts.contexts import NUM_FOLDS, block_ids_of
from textgen.counts.table import CountTable
from textgen.progress import Say, silent


def table_of(
    text: Sequence[int], *, order: int, vocab_size: int, start_id: int = 0, max_bytes: int = 2**30, say: Say = silent
) -> CountTable:
    ids = np.array(text)
    return build_table(
        lambda start, stop: ids[start:stop],
        len(ids),
        order=order,
        vocab_size=vocab_size,
        start_id=start_id,
        max_bytes=max_bytes,
        say=say,
    )


class SlowCounts:
    """Counts of contexts of 0 to `order` ids; those of 4 or more that occur once are not kept."""

    def __init__(self, text: Sequence[int], *, order: int, vocab_size: int, start_id: int = 0) -> None:
        self.order, self.vocab_size = order, vocab_size
        padded = [0] * (order - 1) + [start_id, *text]
        block = block_ids_of(len(text))
        self.counts: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        self.in_fold: defaultdict[tuple[int, tuple[int, ...]], Counter[int]] = defaultdict(Counter)
        for place in range(len(text)):
            for length in range(order + 1):
                context = tuple(padded[place + order - length : place + order])
                self.counts[context][text[place]] += 1
                self.in_fold[place // block % NUM_FOLDS, context][text[place]] += 1

    def probabilities(self, context: Sequence[int], *, fold: int | None = None, max_children: int = 999) -> list[float]:
        """Returns the probability of every id after a context; with a fold, without its counts of long contexts."""
        result = [1 / self.vocab_size] * self.vocab_size
        for length in range(self.order + 1):
            shorter = tuple(context[len(context) - length :])
            counts = self.counts.get(shorter, Counter())
            if length > 3 and sum(counts.values()) < 2:
                continue
            kept = sorted(counts, key=lambda one: (-counts[one], one))
            if length > 2:
                kept = kept[:max_children]
            without = self.in_fold[fold, shorter] if fold is not None and length > 2 else Counter()
            result = self._mixed(result, counts - without, kept)
        return result

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
