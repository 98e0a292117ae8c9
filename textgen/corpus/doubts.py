"""Warns if the first records of a file suggest that the wrong column is used as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

DOUBTED_ROWS = 200
"""Number of records examined."""
FEWEST = 5
"""Smallest number of texts on which a warning is based."""
MOST_SHARE = 0.8
LONGER_TIMES = 3
FEW_WORDS = 6
"""A column of longer texts is suggested only if the texts have fewer words than this on average."""

_NUMBER = re.compile(r"\s*[+-]?[\d.,:/%$€-]*\d[\d.,:/%$€-]*\s*")


def doubts(column: str, values: Mapping[str, Sequence[object]], *, is_named: bool) -> tuple[str, ...]:
    """Returns a warning for each sign that `column` does not hold the text.

    Args:
        column: Name of the column used as text.
        values: Values of every column in the first records, by column name; they need not be strings.
        is_named: Whether the user named the column, in which case short texts are intended.
    """
    texts = _texts(values.get(column, ()))
    if len(texts) < FEWEST:
        return ()
    others = {name: _mean_words(_texts(found)) for name, found in values.items() if name != column}
    longest = max(others, key=lambda name: others[name], default=None)
    if sum(_NUMBER.fullmatch(text) is not None for text in texts) >= MOST_SHARE * len(texts):
        better = f" to another column, such as {longest!r}" if longest is not None and others[longest] >= 2 else ""
        return (f"the column {column!r}, used as text, holds mostly numbers; set corpus.text_column{better}",)
    own = _mean_words(texts)
    if not is_named and longest is not None and own < FEW_WORDS and others[longest] >= LONGER_TIMES * own:
        return (
            f"the column {column!r}, used as text, holds much shorter texts than the column {longest!r}; if you meant "
            f"that one, set corpus.text_column={longest}",
        )
    return ()


def _texts(values: Sequence[object]) -> list[str]:
    return [str(value) for value in values if isinstance(value, str | int | float) and str(value).strip()]


def _mean_words(texts: Sequence[str]) -> float:
    return sum(len(text.split()) for text in texts) / len(texts) if len(texts) >= FEWEST else 0.0
