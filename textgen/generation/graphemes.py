"""Finds where a text may be cut: between graphemes, the characters that a reader perceives.

A grapheme is a character with everything that attaches to it: combining marks, characters bound by a joiner, a skin
tone, the second half of a flag. These are the rules of Unicode Standard Annex 29, without those for scripts whose
syllables consist of letters that also stand alone (conjoining jamo, Indic conjuncts): a cut there loses no mark.
"""

from __future__ import annotations

import unicodedata

ZERO_WIDTH_JOINER = "\N{ZERO WIDTH JOINER}"
_EXTENDS = {ZERO_WIDTH_JOINER, "\N{ZERO WIDTH NON-JOINER}"}


def whole_length(text: str, limit: int) -> int:
    """Returns the length of the longest prefix of at most `limit` characters that ends with a whole grapheme.

    The character at `limit`, if there is one, decides whether the grapheme before it is whole.
    """
    length = min(limit, len(text))
    while 0 < length < len(text) and _joins(text, length):
        length -= 1
    return length


def _joins(text: str, place: int) -> bool:
    """Returns whether the character at `place` belongs to the same grapheme as the one before it."""
    before, character = text[place - 1], text[place]
    if character in _EXTENDS or before == ZERO_WIDTH_JOINER or unicodedata.category(character) in ("Mn", "Me", "Mc"):
        return True
    if "\U0001f3fb" <= character <= "\U0001f3ff" or "\U000e0020" <= character <= "\U000e007f":  # Skin tones, tags.
        return True
    if before == "\r" and character == "\n":
        return True
    return _is_flag_half(character) and _num_flag_halves_before(text, place) % 2 == 1


def _num_flag_halves_before(text: str, place: int) -> int:
    first = place
    while first > 0 and _is_flag_half(text[first - 1]):
        first -= 1
    return place - first


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
