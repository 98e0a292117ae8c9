"""What programs write where there is no value."""

from __future__ import annotations

import decimal

import numpy as np

MISSING = frozenset({"null", "NULL", "NaN", "nan", "None", "NaT", "<NA>"})
"""A text that is exactly one of these, in this spelling, is what a program wrote for a missing one. People who mean the
word write it otherwise ("None.", "none", "NULL is a value"); what is taken for missing is counted and can be read in
`rejected/`."""
MISSING_VALUES = MISSING | {"N/A", "n/a", "#N/A", ""}
"""The same for a label or category, where an abbreviation is no text that someone would miss."""
LONGEST_MISSING = max(map(len, MISSING))
_WITH_NAN = (float, decimal.Decimal, np.floating)


def is_missing_text(text: str) -> bool:
    """Says whether a field of a table stands for no text; long ones are not even hashed."""
    return len(text) <= LONGEST_MISSING and text in MISSING


def is_null(value: object) -> bool:
    """Says whether a value is null or not a number: NaN of floats and decimals, NaT of dates."""
    return value is None or (isinstance(value, _WITH_NAN) and bool(value != value))  # NaN alone differs from itself.
