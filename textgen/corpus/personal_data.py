"""Counts matches of personal-data patterns in texts, without keeping the matches.

The patterns have false negatives and false positives, and names, addresses and life stories match no pattern.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

PATTERNS = {
    "e-mail addresses": r"(?i)[a-z0-9._%+-]+@[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}",
    "phone numbers": r"(^|[^\d.+-])(\+\d{1,3}[ .-]?)?(\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}\b|\+\d{9,15}\b",
    "@handles": r"(^|[^\w@.+%/-])@\w{2,30}\b",
    "URLs": r"(?i)\bhttps?://[^\s]+|\bwww\.[^\s]+",
}
"""RE2 patterns by what they find. Phone numbers are North American, or start with + and the country code."""
BATCH_TEXTS = 10_000


def count_personal_data(texts: Iterable[str]) -> dict[str, int]:
    """Returns the number of matches of each pattern, by its name."""
    counts: Counter[str] = Counter(dict.fromkeys(PATTERNS, 0))
    for batch in _batches(texts):
        for name, pattern in PATTERNS.items():
            counts[name] += pc.sum(pc.count_substring_regex(batch, pattern)).as_py()
    return dict(counts)


def _batches(texts: Iterable[str]) -> Iterator[pa.Array]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == BATCH_TEXTS:
            yield pa.array(batch, pa.large_string())
            batch = []
    if batch:
        yield pa.array(batch, pa.large_string())
