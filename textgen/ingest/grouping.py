"""Groups source files for staging: chunks end at the end of a group, and each task stages a batch of groups."""

from __future__ import annotations

from collections.abc import Sequence

from textgen.corpus.sources import SourceFile
from textgen.ingest.exchange import Layout

GROUP_BYTES = 8 * 2**20
"""Most bytes of source files, as stored, whose documents share chunks."""
GROUP_FILES = 1000
MIN_FILE_BYTES = GROUP_BYTES // GROUP_FILES
"""Smallest size assumed for a file, because opening it takes time regardless of its size."""
PACKED_GROWTH = 4
"""Assumed bytes of documents per byte of a compressed file."""
PACKED_SUFFIXES = (".bz2", ".gz", ".lz4", ".parquet", ".tgz", ".xz", ".zip", ".zst")


def expected_bytes(file: SourceFile) -> int:
    """Estimates how many bytes of documents a source file holds."""
    growth = PACKED_GROWTH if file.uri.endswith(PACKED_SUFFIXES) else 1
    return max(MIN_FILE_BYTES, file.size_bytes * growth)


def groups(files: Sequence[SourceFile]) -> list[list[SourceFile]]:
    """Divides the files into groups, depending only on their order and sizes."""
    grouped: list[list[SourceFile]] = []
    size = 0
    for file in files:
        if not grouped or size + file.size_bytes > GROUP_BYTES or len(grouped[-1]) == GROUP_FILES:
            grouped.append([])
            size = 0
        grouped[-1].append(file)
        size += file.size_bytes
    return grouped


def batches(grouped: Sequence[list[SourceFile]], layout: Layout) -> list[list[list[SourceFile]]]:
    """Divides groups into batches of about `run_bytes` of documents; each batch is staged by one task.

    A group joins the current batch if at least half of the group still fits, so batches do not end up half empty.
    """
    batched: list[list[list[SourceFile]]] = []
    size = 0
    for group in grouped:
        group_bytes = sum(expected_bytes(file) for file in group)
        if not batched or size + group_bytes / 2 > layout.run_bytes:
            batched.append([])
            size = 0
        batched[-1].append(group)
        size += group_bytes
    return batched
