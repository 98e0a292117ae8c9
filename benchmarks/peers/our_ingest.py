"""Our ingest of the built-in film reviews by its tasks alone, one after another: without Ray, on a local disk."""

from __future__ import annotations

import dataclasses
import tempfile

from benchmarks.peers.protocol import answer
from textgen import presets
from textgen.corpus.sources import resolve
from textgen.corpus.splitting import EVERY_KEY
from textgen.corpus.staging import CHUNK_BYTES, staged_chunks
from textgen.windows import ingest_tasks
from textgen.windows.vocabulary import Vocabulary


def main() -> None:
    """Ingests the reviews as often as it is asked to; the amount is bytes of cleaned text."""
    answer(ingest)


def ingest() -> float:
    """Ingests all reviews into one split and returns the bytes of their cleaned text."""
    spec = presets.preset("reviews")
    files = [dataclasses.asdict(file) for file in resolve(["movie-reviews"])]
    keys = dataclasses.asdict(EVERY_KEY)
    with tempfile.TemporaryDirectory() as output:
        for _ in ingest_tasks.stage(
            {"group": 0, "files": files}, output=output, spec=spec.corpus, chunk_bytes=CHUNK_BYTES
        ):
            pass
        names = [chunk.name for chunk in staged_chunks(output, 0)]
        (values,) = ingest_tasks.count(
            {"range": 0, "keys": keys}, output=output, names=names, splits={"train": EVERY_KEY}, spec=spec
        )
        counted = ingest_tasks.CountedRange.from_dict(values)
        vocabulary = Vocabulary.from_counts(
            counted.train_symbols, unit=spec.windows.unit, min_count=spec.windows.min_count
        )
        item = {"split": "train", "part": 0, "names": names, "keys": keys}
        (_,) = ingest_tasks.write(item, output=output, duplicates=[], vocabulary=vocabulary, spec=spec.corpus)
    return float(sum(len(chr(code).encode()) * count for code, count in counted.train_symbols.items()))


if __name__ == "__main__":
    main()
