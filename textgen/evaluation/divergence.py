"""Compares two sets of texts by the Jensen-Shannon divergence of their character 3-grams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from scipy.spatial.distance import jensenshannon


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
    if not first.total() or not second.total():
        raise ValueError("the divergence is undefined without 3-grams; use texts of 3 characters or more")
    ngrams = sorted(first.keys() | second.keys())
    distance = jensenshannon([first[ngram] for ngram in ngrams], [second[ngram] for ngram in ngrams], base=2)
    return float(distance**2)  # SciPy returns the root, which is a metric.


def divergence(first: Iterable[str], second: Iterable[str]) -> float:
    """Returns the Jensen-Shannon divergence of the character 3-grams of two sets of texts, in bits."""
    return jensen_shannon(ngram_counts(first), ngram_counts(second))
