"""Reads records from Parquet."""

from __future__ import annotations

import contextlib
import io
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from textgen.corpus.doubts import DOUBTED_ROWS
from textgen.corpus.formats import Record, Source
from textgen.corpus.json_records import doubts_of, record_of
from textgen.corpus.schema import recognise

BATCH_ROWS = 1000


def read_parquet(stream: IO[bytes], source: Source) -> Iterator[Record]:
    """Reads the text, label and category columns, and all string columns of the first rows for comparison."""
    with seekable(stream) as opened, pq.ParquetFile(opened) as file:
        names = file.schema_arrow.names
        columns = recognise(names, source.spec, file_name=source.uri, partitions=tuple(source.partitions))
        texts = [field.name for field in file.schema_arrow if _may_be_text(field.type) or field.name == columns.text]
        peeked = next(file.iter_batches(batch_size=DOUBTED_ROWS, columns=texts, use_threads=False), None)
        objects = [] if peeked is None else peeked.to_pylist()
        source.begin("parquet", columns, warnings=doubts_of(columns, objects))
        wanted = [name for name in (columns.text, columns.label, columns.category) if name in names]
        batches = file.iter_batches(batch_size=BATCH_ROWS, columns=wanted, use_threads=False)
        number = itertools.count(1)
        for batch in batches:
            for values in batch.to_pylist():
                yield record_of(next(number), values, columns, source.partitions)


def _may_be_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


@contextlib.contextmanager
def seekable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """Provides a stream with cheap seeks; a compressed one is unpacked to a temporary file."""
    if isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO):
        yield stream
        return
    with tempfile.TemporaryFile() as unpacked:
        shutil.copyfileobj(stream, unpacked)
        unpacked.seek(0)
        yield unpacked
