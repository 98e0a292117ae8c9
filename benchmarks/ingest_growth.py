"""Measures how many opens and bytes of staged files an ingest needs as the corpus grows, now and before.

python -m benchmarks.ingest_growth               # about a minute on one core

Up to 16 GiB, an ingest runs with every size divided by 256, including the corpus. For larger sizes, its tasks are
planned for a corpus of that size, and their requests and bytes are added up. The figures of the previous code, in which
each range of keys opened every chunk, were measured at commit 3c8541d; above 16 GiB they are extrapolated, opens with
the square of the size.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.side_by_side import save
from benchmarks.storage_reads import counted_reads
from textgen import presets, storage
from textgen.corpus.splitting import split_ranges
from textgen.ingest import exchange, grouping, pipeline, staging, tasks
from textgen.ingest.duplicates import DuplicateFile
from textgen.ingest.exchange import Area, Layout, Run
from textgen.ingest.plan import Staged, counting_items, writing_items
from textgen.ingest.staging import STAGING_NAME, Batch, Chunk
from textgen.spec import override

GIB = 2**30
SCALE = 256
FILE_BYTES = 32 * 2**20
MEASURED = (1, 4, 16)
PLANNED = (100, 1024)
SIZES = (
    *((pipeline, name) for name in ("CHUNK_BYTES", "RANGE_BYTES", "SHARD_WEIGHT_BYTES")),
    *((grouping, name) for name in ("GROUP_BYTES", "MIN_FILE_BYTES")),
    *((exchange, name) for name in ("REQUEST_BYTES", "MIN_RUN_BYTES")),
    (staging, "BATCH_CHARS"),
)
"""The sizes that are divided by the scale."""
BEFORE: Mapping[int, tuple[int, float]] = {1: (1_600, 1.8), 4: (26_000, 4.1), 16: (411_000, 13.0)}
"""Opens, and bytes read per staged byte, by GiB."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The opens and reads of an ingest of one size."""

    opens: int
    bytes_per_pass: float
    """Bytes read per stored staged byte, averaged over counting and writing."""


def main(argv: list[str]) -> int:
    """Measures and plans all sizes and prints a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest_growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(argv)
    grown = {size: measured(size * GIB, scale=SCALE) for size in MEASURED}
    grown |= {size: planned(size * GIB) for size in PLANNED}
    table = [
        "| corpus, GiB | opens before | now | now, per GiB | bytes read per staged byte before | now, in each pass |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for size, now in grown.items():
        opens, per_pass = before(size)
        table.append(
            f"| {size:,} | {opens:,} | {now.opens:,} | {now.opens / size:,.0f} | {per_pass:.1f} | "
            f"{now.bytes_per_pass:.2f} |"
        )
    save("ingest_growth", table, {"growth": {size: vars(now) for size, now in grown.items()}, "before": BEFORE})
    return 0


def before(size: int) -> tuple[int, float]:
    """Returns opens and bytes read per staged byte of the previous code, for a corpus of `size` GiB.

    Opens grow with the square of the size, and bytes by a row group per chunk and range.
    """
    if size in BEFORE:
        return BEFORE[size]
    (small, (_, little)), (large, (opens, much)) = [(size, BEFORE[size]) for size in MEASURED[-2:]]
    return round(opens * (size / large) ** 2 / 1e6) * 10**6, much + (much - little) * (size - large) / (large - small)


def measured(size: int, *, scale: int, document_order: str = "hash") -> Growth:
    """Ingests a corpus of `size` / `scale` bytes with every size divided by `scale`, and counts opens and reads."""
    with tempfile.TemporaryDirectory() as folder, _scaled(scale):
        _write_corpus(Path(folder) / "in", size // scale, scale=scale)
        settings: dict[str, Any] = {
            "windows.shard_bytes": 64 * 2**20 // scale,
            "corpus.document_order": document_order,
        }
        staged_bytes = 0

        def run(task: Any, items: Sequence[Mapping[str, Any]], **arguments: Any) -> Iterator[Any]:
            nonlocal staged_bytes
            del arguments["say"]  # Nothing has to wait here.
            for item in items:
                yield from task(item, **arguments)
            if task is tasks.stage:
                files = storage.list_files(storage.join(folder, "out", STAGING_NAME))
                staged_bytes = sum(file.size_bytes for file in files)

        with mock.patch.object(pipeline, "run_tasks", run), counted_reads() as reads:
            spec = override(presets.preset("reviews"), settings)
            pipeline.ingest([f"{folder}/in"], output=f"{folder}/out", spec=spec, say=lambda _: None)
    return Growth(opens=reads.opens, bytes_per_pass=reads.num_bytes / staged_bytes / 2)


def planned(size: int, *, document_order: str = "hash", stored_share: float = 0.5) -> Growth:
    """Plans the tasks for a corpus of uniform documents that compress to `stored_share`, and adds up their reads."""
    layout = Layout.of(size)
    num_batches = math.ceil(size / layout.run_bytes)
    weight_bytes = size // num_batches
    per_bucket = max(1, int(weight_bytes * stored_share) // layout.num_buckets)
    num_chunks = max(1, weight_bytes // staging.CHUNK_BYTES)
    chunk = Chunk(source_bytes=0, documents=1, weight_bytes=weight_bytes // num_chunks)
    offsets = list(range(0, per_bucket * layout.num_buckets + 1, per_bucket))
    batches = [
        Batch(
            chunks=[chunk] * num_chunks,
            runs=[Run(name="", offsets=offsets, weight_bytes=weight_bytes, first_chunk=0, stop_chunk=num_chunks)],
            lowest_keys=[],
        )
        for _ in range(num_batches)
    ]
    spec = presets.preset("reviews").corpus
    staged = Staged.of(batches, layout, spec)
    ranges = split_ranges([], spec)
    shares = {"train": 1 - spec.val_share - spec.test_share, "val": spec.val_share, "test": spec.test_share}
    num_parts = {split: math.ceil(size * share / (64 * 2**20)) for split, share in shares.items()}
    counting = counting_items(staged, range_bytes=pipeline.RANGE_BYTES)
    duplicates = [
        DuplicateFile(name="", offsets=[16 * run for run in range(num_batches + 1)])
        for _ in (counting if document_order == "file" else ())
    ]
    writing = writing_items(staged, ranges, num_parts, duplicates, document_order=document_order)
    opens, num_bytes = num_batches, 0  # Markers.
    for item in [*counting, *writing]:
        area = Area(buckets=item["area"]["buckets"], runs=item["area"]["runs"])
        opens += 2 + area.runs[1] - area.runs[0] + len(item.get("duplicates", ()))
        num_bytes += staged.num_bytes(area)
    return Growth(opens=opens, bytes_per_pass=num_bytes / int(staged.bytes_before[-1, -1]) / 2)


@contextlib.contextmanager
def _scaled(scale: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for module, name in SIZES:
            stack.enter_context(mock.patch.object(module, name, max(1, getattr(module, name) // scale)))
        yield


def _write_corpus(folder: Path, num_bytes: int, *, scale: int) -> None:
    """Writes files with lines of random words, about 3,000 characters each."""
    drawn = random.Random(0)
    words = ["".join(drawn.choices("etaoinshrdlu", k=drawn.randint(2, 9))) for _ in range(2000)]
    folder.mkdir()
    for number in range(num_bytes // (FILE_BYTES // scale)):
        with open(folder / f"{number:05d}.txt", "w") as file:
            while file.tell() < FILE_BYTES // scale:
                file.write(" ".join(drawn.choices(words, k=450)) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
