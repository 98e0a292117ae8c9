"""Signs, in the first records of a file, that another column than the one taken holds the text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

DOUBTED_ROWS = 200
"""Records that are looked at."""
FEWEST = 5
"""Texts without which nothing is said."""
MOST_SHARE = 0.8
LONGER_TIMES = 3
FEW_WORDS = 6
"""Mean words of a text below which a column of longer texts is pointed out."""

_NUMBER = re.compile(r"\s*[+-]?[\d.,:/%$€-]*\d[\d.,:/%$€-]*\s*")


def doubts(column: str, values: Mapping[str, Sequence[object]], *, is_named: bool) -> tuple[str, ...]:
    """Returns a sentence for each doubt about the column taken for text.

    Args:
        column: its name.
        values: those of all columns in the first records, by name; they need not be texts.
        is_named: says that the user named the column, so that short texts are meant.
    """
    texts = _texts(values.get(column, ()))
    if len(texts) < FEWEST:
        return ()
    others = {name: _mean_words(_texts(found)) for name, found in values.items() if name != column}
    longest = max(others, key=lambda name: others[name], default=None)
    if sum(_NUMBER.fullmatch(text) is not None for text in texts) >= MOST_SHARE * len(texts):
        better = f" to another column, such as {longest!r}" if longest is not None and others[longest] >= 2 else ""
        return (f"the column {column!r}, taken for text, holds mostly numbers; set corpus.text_column{better}",)
    own = _mean_words(texts)
    if not is_named and longest is not None and own < FEW_WORDS and others[longest] >= LONGER_TIMES * own:
        return (
            f"the column {column!r}, taken for text, holds much shorter texts than the column {longest!r}; if that one "
            f"is meant, set corpus.text_column={longest}",
        )
    return ()


def _texts(values: Sequence[object]) -> list[str]:
    return [str(value) for value in values if isinstance(value, str | int | float) and str(value).strip()]


def _mean_words(texts: Sequence[str]) -> float:
    return sum(len(text.split()) for text in texts) / len(texts) if len(texts) >= FEWEST else 0.0
