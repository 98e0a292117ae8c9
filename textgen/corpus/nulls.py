"""Spellings of missing values."""

from __future__ import annotations

import decimal

import numpy as np

MISSING = frozenset({"null", "NULL", "NaN", "nan", "None", "NaT", "<NA>"})
"""A text that equals one of these was written by a program for a missing value. People who mean the word usually write
it differently ("None.", "none", "NULL is a value"). Texts that count as missing are counted and listed in
`rejected/`."""
MISSING_VALUES = MISSING | {"N/A", "n/a", "#N/A", ""}
"""The same for labels and categories, where these abbreviations are never a value."""
LONGEST_MISSING = max(map(len, MISSING))
_WITH_NAN = (float, decimal.Decimal, np.floating)


def is_missing_text(text: str) -> bool:
    """Returns whether a text marks a missing value. The length check avoids hashing long texts."""
    return len(text) <= LONGEST_MISSING and text in MISSING


def is_null(value: object) -> bool:
    """Returns whether a value is None or a NaN of a float or decimal."""
    return value is None or (isinstance(value, _WITH_NAN) and bool(value != value))  # Only NaN differs from itself.
