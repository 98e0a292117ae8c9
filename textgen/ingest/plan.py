"""Plans the counting and writing tasks of an ingest: which buckets of which runs each task reads, and its output.

Letters: R runs, K buckets.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen import storage
from textgen.corpus.splitting import KeyRange, lowest_keys
from textgen.ingest.duplicates import DuplicateFile
from textgen.ingest.exchange import Area, Layout, Run, RunIndex
from textgen.ingest.staging import STAGING_NAME, Batch, Chunk
from textgen.spec import CorpusSpec

Item = dict[str, Any]
RUNS_AT_ONCE: Mapping[str, int] = {"hash": 2, "file": 6}
"""Most bytes that a writing task reads, in multiples of `run_bytes`, by document order. Neighbouring tasks overlap: by
one bucket in hash order, by up to a whole run in file order."""


@dataclass(frozen=True, kw_only=True)
class Staged:
    """The combined content of all staged batches."""

    layout: Layout
    chunks: list[Chunk]
    """In the order of the sources."""
    runs: list[Run]
    """In the order of their chunks, which are numbered over all batches."""
    lowest_keys: list[str]
    index: RunIndex
    bytes_before: npt.NDArray[np.int64]
    """Number of bytes in the first k buckets of the first r runs, [R + 1, K + 1]."""

    @classmethod
    def of(cls, batches: Sequence[Batch], layout: Layout, spec: CorpusSpec) -> Staged:
        """Combines batches in the order of the sources."""
        chunks: list[Chunk] = []
        runs: list[Run] = []
        bases: list[int] = []
        lowest: list[str] = []
        for batch in batches:
            base = len(chunks)
            chunks += batch.chunks
            bases += [base] * len(batch.runs)
            runs += [
                dataclasses.replace(run, first_chunk=base + run.first_chunk, stop_chunk=base + run.stop_chunk)
                for run in batch.runs
            ]
            lowest = lowest_keys(sorted({*lowest, *batch.lowest_keys}), spec)
        offsets = np.array([run.offsets for run in runs], np.int64).reshape(-1, layout.num_buckets + 1)  # [R, K + 1]
        return cls(
            layout=layout,
            chunks=chunks,
            runs=runs,
            lowest_keys=lowest,
            index=RunIndex(
                name=f"{STAGING_NAME}/offsets",
                names=[run.name for run in runs],
                bases=bases,
                first_chunks=[run.first_chunk for run in runs],
            ),
            bytes_before=np.concatenate([np.zeros_like(offsets[:1]), np.cumsum(offsets, axis=0)]),
        )

    def write_index(self, output: str) -> None:
        """Writes the file of offsets that `index` refers to."""
        offsets = np.diff(self.bytes_before, axis=0)
        storage.write_bytes(storage.join(output, self.index.name), np.ascontiguousarray(offsets.T).tobytes())

    def num_bytes(self, area: Area) -> int:
        """Returns the number of staged bytes in an area."""
        (first_run, stop_run), (first, stop) = area.runs, area.buckets
        before = self.bytes_before
        return int(
            before[stop_run, stop] - before[stop_run, first] - before[first_run, stop] + before[first_run, first]
        )


def counting_items(staged: Staged, *, range_bytes: int) -> list[Item]:
    """Returns items for key ranges of about `run_bytes`, each divided into parts that take `range_bytes` of memory."""
    if not staged.runs:
        return []
    bucket_bytes = np.diff(staged.bytes_before[-1])  # [K]
    weight_of_byte = sum(run.weight_bytes for run in staged.runs) / int(bucket_bytes.sum())
    items: list[Item] = []
    first, num_bytes = 0, 0
    for bucket, size in enumerate([*bucket_bytes.tolist(), 0]):
        if bucket == staged.layout.num_buckets or (num_bytes and num_bytes + size > staged.layout.run_bytes):
            items.append(
                {
                    "range": len(items),
                    "keys": dataclasses.asdict(staged.layout.keys(first, bucket)),
                    "num_parts": max(1, -(-int(num_bytes * weight_of_byte) // range_bytes)),
                    "area": {"buckets": (first, bucket), "runs": (0, len(staged.runs))},
                }
            )
            first, num_bytes = bucket, 0
        num_bytes += size
    return items


def writing_items(
    staged: Staged,
    ranges: Mapping[str, KeyRange],
    num_parts: Mapping[str, int],
    duplicates: Sequence[DuplicateFile],
    *,
    document_order: str,
) -> list[Item]:
    """Returns items for the shards of all splits, with the area that each item reads.

    Shards whose documents are adjacent in the exchange share an item, even if they belong to different splits.
    """
    parts = [
        {"split": split, "part": number, **part}
        for split, keys in ranges.items()
        for number, part in enumerate(_parts(staged.chunks, keys, num_parts[split], document_order))
    ]
    parts.sort(key=lambda part: (part["first_chunk"], part["keys"]["start"], part["split"]))
    limit = RUNS_AT_ONCE[document_order] * staged.layout.run_bytes
    items: list[Item] = []
    together: list[Item] = []
    area: Area | None = None
    for part in parts:
        wider = own = _area(part, staged)
        if area is not None:
            wider = area.joined(own)
            if staged.num_bytes(wider) > limit:
                items.append(_writing_item(together, area, duplicates))
                together, wider = [], own
        together.append(part)
        area = wider
    if area is not None:
        items.append(_writing_item(together, area, duplicates))
    return items


def _writing_item(parts: list[Item], area: Area, duplicates: Sequence[DuplicateFile]) -> Item:
    return {
        "parts": parts,
        "area": dataclasses.asdict(area),
        "duplicates": [dataclasses.asdict(place) for file in duplicates for place in file.slices(*area.runs)],
    }


def _area(part: Item, staged: Staged) -> Area:
    """Returns the area that contains the documents of a part."""
    first_run = bisect.bisect_right(staged.runs, part["first_chunk"], key=lambda run: run.stop_chunk)
    stop_run = bisect.bisect_left(staged.runs, part["stop_chunk"], key=lambda run: run.first_chunk)
    return Area(buckets=staged.layout.buckets(KeyRange(**part["keys"])), runs=(first_run, stop_run))


def _parts(chunks: Sequence[Chunk], keys: KeyRange, num_parts: int, document_order: str) -> list[Item]:
    """Returns the chunks and keys of each shard of a split, in the order of the shards."""
    if document_order == "hash":
        return [_part(part, 0, len(chunks)) for part in keys.parts(num_parts)]
    numbers: list[list[int]] = [[] for _ in range(num_parts)]
    total_bytes = sum(chunk.weight_bytes for chunk in chunks if chunk.documents)
    seen_bytes = 0
    for number, chunk in enumerate(chunks) if num_parts else ():
        if chunk.documents:
            numbers[seen_bytes * num_parts // total_bytes].append(number)
            seen_bytes += chunk.weight_bytes
    return [_part(keys, own[0], own[-1] + 1) for own in numbers if own]


def _part(keys: KeyRange, first_chunk: int, stop_chunk: int) -> Item:
    return {"keys": dataclasses.asdict(keys), "first_chunk": first_chunk, "stop_chunk": stop_chunk}
