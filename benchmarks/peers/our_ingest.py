"""Our ingest of the built-in film reviews: its tasks run one after another, without Ray, on a local disk."""

from __future__ import annotations

import dataclasses
import tempfile

from benchmarks.peers.protocol import answer
from textgen import presets
from textgen.corpus.sources import resolve
from textgen.corpus.splitting import EVERY_KEY, KeyRange
from textgen.ingest import tasks
from textgen.ingest.exchange import Layout
from textgen.ingest.grouping import expected_bytes
from textgen.ingest.pipeline import RANGE_BYTES
from textgen.ingest.plan import Staged, counting_items, writing_items
from textgen.ingest.staging import CHUNK_BYTES, staged_batch
from textgen.windows.vocabulary import Vocabulary


def main() -> None:
    """Ingests the reviews as often as requested; the amount is bytes of cleaned text."""
    answer(ingest)


def ingest() -> float:
    """Ingests all reviews into one split and returns the bytes of their cleaned text."""
    spec = presets.preset("reviews")
    files = resolve(["movie-reviews"])
    layout = Layout.of(sum(map(expected_bytes, files)))
    nothing = KeyRange(start=EVERY_KEY.start, stop=EVERY_KEY.start)
    splits = {"train": EVERY_KEY, "val": nothing, "test": nothing}
    item = {"batch": 0, "first_group": 0, "groups": [[dataclasses.asdict(file) for file in files]]}
    with tempfile.TemporaryDirectory() as output:
        for _ in tasks.stage(item, output=output, spec=spec.corpus, layout=layout, chunk_bytes=CHUNK_BYTES):
            pass
        staged = Staged.of([staged_batch(output, 0)], layout, spec.corpus)
        staged.write_index(output)
        counted = tasks.CountedRange()
        for counting in counting_items(staged, range_bytes=RANGE_BYTES):
            (values,) = tasks.count(counting, output=output, index=staged.index, splits=splits, spec=spec)
            counted.add(tasks.CountedRange.from_dict(values))
        vocabulary = Vocabulary.from_counts(
            counted.train_symbols, unit=spec.windows.unit, min_count=spec.windows.min_count
        )
        parts = {"train": 1, "val": 0, "test": 0}
        for writing in writing_items(staged, splits, parts, [], document_order=spec.corpus.document_order):
            for _ in tasks.write(writing, output=output, index=staged.index, vocabulary=vocabulary, spec=spec.corpus):
                pass
    return float(sum(len(chr(code).encode()) * count for code, count in counted.train_symbols.items()))


if __name__ == "__main__":
    main()
