"""Finds where a text may be cut: between graphemes, the characters that a reader perceives.

A grapheme is a character with everything that attaches to it: combining marks, characters bound by a joiner, a skin
tone, the second half of a flag (Unicode Standard Annex 29).
"""

from __future__ import annotations

import regex

_GRAPHEME = regex.compile(r"\X")


def whole_length(text: str, limit: int) -> int:
    """Returns the length of the longest prefix of at most `limit` characters that ends with a whole grapheme.

    The character at `limit`, if there is one, decides whether the grapheme before it is whole.
    """
    if limit >= len(text):
        return len(text)
    length = 0
    for found in _GRAPHEME.finditer(text, 0, limit + 1):
        if found.end() > limit:
            break
        length = found.end()
    return length
