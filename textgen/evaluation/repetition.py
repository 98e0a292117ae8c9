"""How far a text repeats itself: runs of words said before, and the loop that it ends in."""

from __future__ import annotations

from dataclasses import dataclass

NGRAM_WORDS = 4


def repeated_ngrams(text: str, *, length: int = NGRAM_WORDS) -> tuple[int, int]:
    """Returns how many of a text's runs of `length` words stood in it before, and how many runs it has."""
    words = text.split()
    ngrams = [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]
    return len(ngrams) - len(set(ngrams)), len(ngrams)


@dataclass(frozen=True, kw_only=True)
class Loop:
    """The end of a text as far as it repeats itself, said twice at least."""

    period: int
    """Characters after which it repeats; 0 where the text ends in no repetition."""
    num_chars: int
    """Characters of the end that do."""


def closing_loop(text: str) -> Loop:
    """Returns the longest repetition that a text ends in, of equally long ones that with the shortest period.

    Most texts end in a short one (`ll`, `...`): what counts is its share of the text.
    """
    backwards = text[::-1]
    best = Loop(period=0, num_chars=0)
    for period, matching in enumerate(_matches_with_start(backwards)[: len(text) // 2 + 1]):
        num_chars = period + matching
        if period and num_chars >= 2 * period and num_chars > best.num_chars:
            best = Loop(period=period, num_chars=num_chars)
    return best


def _matches_with_start(text: str) -> list[int]:
    """Returns for each place how many characters from there on are those that the text begins with (Z function)."""
    matches = [0] * len(text)
    left = right = 0  # The match that reaches furthest: text[left:right] == text[: right - left].
    for place in range(1, len(text)):
        count = min(matches[place - left], right - place) if place < right else 0
        while place + count < len(text) and text[count] == text[place + count]:
            count += 1
        matches[place] = count
        if place + count > right:
            left, right = place, place + count
    return matches
