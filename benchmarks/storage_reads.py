"""Counts the opens and reads of an ingest's staged files, for a measurement or a test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any
from unittest import mock

from textgen import storage
from textgen.ingest.staging import STAGING_NAME


@dataclass(kw_only=True)
class Reads:
    """Sums over all files opened below `_staging`."""

    opens: int = 0
    """Number of files and ranges of files opened; each is a request on S3."""
    num_bytes: int = 0


class _Counting:
    """A stream that counts the bytes read from another one."""

    def __init__(self, stream: IO[bytes], reads: Reads) -> None:
        self._stream = stream
        self._reads = reads

    def read(self, *size: int) -> bytes:
        """Reads from the stream and counts the bytes."""
        content = self._stream.read(*size)
        self._reads.num_bytes += len(content)
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def counted_reads() -> Iterator[Reads]:
    """Counts this process's reads of staged files, including markers."""
    reads = Reads()
    with contextlib.ExitStack() as stack:
        for name in ("open_read", "open_range", "open_seekable"):
            stack.enter_context(mock.patch.object(storage, name, _watched(getattr(storage, name), reads)))
        yield reads


def _watched(opened: Any, reads: Reads) -> Any:
    @contextlib.contextmanager
    def watched(uri: str, **arguments: Any) -> Iterator[Any]:
        with opened(uri, **arguments) as stream:
            if f"/{STAGING_NAME}/" not in uri:
                yield stream
                return
            reads.opens += 1
            yield _Counting(stream, reads)

    return watched
