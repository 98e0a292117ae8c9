"""Ingests the same film reviews with a plain loop: `csv`, regular expressions for the rules, a dictionary for ids."""

from __future__ import annotations

import collections
import csv
import html
import re
import sys
import unicodedata

import numpy as np

from benchmarks.peers.protocol import answer
from textgen.corpus.sources import movie_reviews_path

LINE_BREAK = re.compile("<br ?/?>|\r\n|[\r\x0b\x0c\x85\u2028\u2029]", re.IGNORECASE)
CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff]")
SPACES = re.compile("[\t \xa0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
AROUND_BREAK = re.compile(" ?\n ?")
EMPTY_LINES = re.compile("\n{3,}")
MIN_COUNT = 5
END, UNKNOWN = 0, 1


def main() -> None:
    """Ingests the reviews as often as requested; the amount is bytes of cleaned text."""
    csv.field_size_limit(sys.maxsize)
    answer(ingest)


def ingest() -> float:
    """Cleans, counts and encodes all distinct reviews, and returns the bytes of their cleaned text."""
    texts: dict[str, None] = {}
    with open(movie_reviews_path(), newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            texts[cleaned(row["text"])] = None
    counts: collections.Counter[str] = collections.Counter()
    for text in texts:
        counts.update(text)
    symbols = sorted(symbol for symbol, count in counts.items() if count >= MIN_COUNT)
    id_of = {symbol: number for number, symbol in enumerate(symbols, 2)}
    ids = [np.array([*(id_of.get(symbol, UNKNOWN) for symbol in text), END], np.uint8) for text in texts]
    assert sum(map(len, ids)) == counts.total() + len(texts)
    return float(sum(len(text.encode()) for text in texts))


def cleaned(text: str) -> str:
    """Returns a text cleaned like by the preset `reviews`."""
    text = CONTROL.sub("", LINE_BREAK.sub("\n", html.unescape(text)))
    text = SPACES.sub(" ", unicodedata.normalize("NFC", text).lower())
    return EMPTY_LINES.sub("\n\n", AROUND_BREAK.sub("\n", text)).strip()


if __name__ == "__main__":
    main()
