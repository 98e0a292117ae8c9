"""Which source files are staged together: groups, where chunks end, and batches of groups, which a task stages each."""

from __future__ import annotations

from collections.abc import Sequence

from textgen.corpus.sources import SourceFile
from textgen.ingest.exchange import Layout

GROUP_BYTES = 8 * 2**20
"""Size of source files, packed as they are, whose documents share chunks."""
GROUP_FILES = 1000
MIN_FILE_BYTES = GROUP_BYTES // GROUP_FILES
"""What a file is taken for at least: opening it takes time, however small it is."""
PACKED_GROWTH = 4
"""How many bytes of documents a byte of a packed file is taken for, where sizes are chosen."""
PACKED_SUFFIXES = (".bz2", ".gz", ".lz4", ".parquet", ".tgz", ".xz", ".zip", ".zst")


def expected_bytes(file: SourceFile) -> int:
    """Returns about how many bytes of documents a source file holds."""
    growth = PACKED_GROWTH if file.uri.endswith(PACKED_SUFFIXES) else 1
    return max(MIN_FILE_BYTES, file.size_bytes * growth)


def groups(files: Sequence[SourceFile]) -> list[list[SourceFile]]:
    """Cuts the numbered files into groups, where chunks end; depends on names and sizes alone."""
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
    """Cuts groups of files into batches of about `run_bytes` of documents, which are staged by one task each.

    A group joins a batch that half of it still fits into, so that no batch is half as large as it may be.
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
