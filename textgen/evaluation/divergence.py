"""Compares two sets of texts by the Jensen-Shannon divergence of their character 3-grams."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable


def ngram_counts(texts: Iterable[str], *, length: int = 3) -> Counter[str]:
    """Counts the character n-grams of each text; none spans two texts."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text[start : start + length] for start in range(len(text) - length + 1))
    return counts


def jensen_shannon(first: Counter[str], second: Counter[str]) -> float:
    """Returns the divergence of two count distributions in bits: 0 for equal and 1 for disjoint ones.

    Raises:
        ValueError: a distribution is empty.
    """
    num_first, num_second = first.total(), second.total()
    if not num_first or not num_second:
        raise ValueError("the divergence is undefined without 3-grams; use texts of 3 characters or more")
    terms = []
    for ngram in first.keys() | second.keys():
        p, q = first[ngram] / num_first, second[ngram] / num_second
        middle = (p + q) / 2
        terms += [share * math.log2(share / middle) for share in (p, q) if share]
    return min(max(math.fsum(terms) / 2, 0.0), 1.0)


def divergence(first: Iterable[str], second: Iterable[str]) -> float:
    """Returns the Jensen-Shannon divergence of the character 3-grams of two sets of texts, in bits."""
    return jensen_shannon(ngram_counts(first), ngram_counts(second))
