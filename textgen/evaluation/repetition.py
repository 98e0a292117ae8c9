"""Measures repetition in a text: repeated word n-grams, and the loop at its end."""

from __future__ import annotations

from dataclasses import dataclass

NGRAM_WORDS = 4


def repeated_ngrams(text: str, *, length: int = NGRAM_WORDS) -> tuple[int, int]:
    """Returns how many of a text's word n-grams repeat an earlier one, and the number of all its n-grams."""
    words = text.split()
    ngrams = [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]
    return len(ngrams) - len(set(ngrams)), len(ngrams)


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A repetition at the end of a text, with at least two periods."""

    period: int
    """Length of the period in characters; 0 without a repetition."""
    num_chars: int
    """Length of the whole repetition in characters."""


def closing_loop(text: str) -> Loop:
    """Returns the longest repetition at the end of a text, and among equally long ones that with the shortest period.

    Most texts end in a short one (`ll`, `...`), so only its share of the text is meaningful.
    """
    backwards = text[::-1]
    best = Loop(period=0, num_chars=0)
    for period, matching in enumerate(_matches_with_start(backwards)[: len(text) // 2 + 1]):
        num_chars = period + matching
        if period and num_chars >= 2 * period and num_chars > best.num_chars:
            best = Loop(period=period, num_chars=num_chars)
    return best


def _matches_with_start(text: str) -> list[int]:
    """Returns the Z function: for each position, the length of the longest match with the start of the text."""
    matches = [0] * len(text)
    left = right = 0  # The match that extends furthest: text[left:right] == text[: right - left].
    for place in range(1, len(text)):
        count = min(matches[place - left], right - place) if place < right else 0
        while place + count < len(text) and text[count] == text[place + count]:
            count += 1
        matches[place] = count
        if place + count > right:
            left, right = place, place + count
    return matches
