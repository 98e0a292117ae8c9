"""Measures the words of generated text: how many are words of `train`, and how varied their pairs are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import regex

from textgen.evaluation.novelty import window_text
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader

WORD = regex.compile(r"[\p{L}\p{M}]+(?:['’][\p{L}\p{M}]+)*")
READ_IDS = 2**22
"""Ids of `train` that are read at once."""
LONGEST_WORD = 100
"""Ids that two pieces of `train` overlap by, so that a word between them is read whole."""


def word_figures(texts: Sequence[str], manifest: Manifest) -> dict[str, float]:
    """Returns the share of words that occur in `train`, and the share of pairs of neighbouring words that differ.

    The last word of a text does not count if the text ends in it: it may have been cut off. Texts without words, or
    without pairs, have a share of 1.
    """
    encoded = [manifest.codec.encode(text) for text in texts]
    words = [_whole_words(text) for text in encoded]
    missing = {word for text in words for word in text}
    for known in _training_words(manifest):
        missing -= known
        if not missing:
            break
    num_words = sum(map(len, words))
    num_known = sum(word not in missing for text in words for word in text)
    pairs = [pair for text in words for pair in itertools.pairwise(text)]
    return {
        "known_words_share": num_known / num_words if num_words else 1.0,
        "distinct_pairs_share": len(set(pairs)) / len(pairs) if pairs else 1.0,
    }


def _whole_words(text: str) -> list[str]:
    found = [(match.group().lower(), match.end()) for match in WORD.finditer(text)]
    return [word for word, end in found if end < len(text)]


def _training_words(manifest: Manifest) -> Iterator[set[str]]:
    """Yields the words of `train`, piece by piece."""
    with IdReader(manifest, "train") as reader:
        for start in range(0, reader.num_ids, READ_IDS):
            first, stop = max(start - LONGEST_WORD, 0), start + READ_IDS
            text = window_text(reader.read(first, stop), manifest.vocabulary)
            # What touches an end of the piece may be a part of a word; the neighbouring piece has it whole.
            low, high = int(first > 0), len(text) - int(stop < reader.num_ids)
            matches = (match for match in WORD.finditer(text) if match.start() >= low and match.end() <= high)
            yield {match.group().lower() for match in matches}
