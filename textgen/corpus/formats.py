"""One reader a format: a stream of bytes -> its records, one at a time."""

from __future__ import annotations

import codecs
import contextlib
import csv
import dataclasses
import functools
import io
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from textgen.corpus.books import Line, book_lines
from textgen.corpus.schema import Columns, is_headerless, positions, recognise, value_text
from textgen.corpus.twitter_archive import iter_tweets
from textgen.errors import UserError
from textgen.spec import CorpusSpec

FIELD_LIMIT_CHARS = 16 * 2**20
"""A field of a CSV longer than this is taken for a quote that never closes."""
PEEK_LINES = 1000
"""JSON lines whose keys together are the columns: some records lack some."""
BATCH_ROWS = 1000
BATCH_BYTES = 4 * 2**20


class Record(NamedTuple):
    """One row of a source file; `reason` says why it cannot be read, and then `text` is an excerpt of it."""

    row: int
    """The line on which it starts (formats of lines) or its number, from 1."""
    text: str | None
    label: str | None = None
    category: str | None = None
    reason: str | None = None


Reader = Callable[[IO[bytes], CorpusSpec, str], Iterator[Record]]
Row = tuple[int, list[str] | Record]
"""A line number, and the fields of the row that starts there or the record of one that is none."""


@contextlib.contextmanager
def _decoded(stream: IO[bytes], spec: CorpusSpec, newline: str | None) -> Iterator[io.TextIOWrapper]:
    encoding = "utf-8-sig" if codecs.lookup(spec.encoding).name == "utf-8" else spec.encoding
    lines = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline=newline)
    try:
        yield lines
    finally:
        lines.detach()  # The stream is closed where it was opened.


def _read_tsv(stream: IO[bytes], spec: CorpusSpec, uri: str) -> Iterator[Record]:
    """The TSV of the Amazon bucket: a tab always separates, a quote is a quote."""
    with _decoded(stream, spec, "\n") as lines:  # A lone CR may stand inside a review.
        rows: Iterator[Row] = (
            (number, line.rstrip("\r\n").split("\t")) for number, line in enumerate(lines, 1) if line.strip("\r\n")
        )
        yield from _table_records(rows, spec, uri, separator="\t")


def _read_csv(stream: IO[bytes], spec: CorpusSpec, uri: str) -> Iterator[Record]:
    with _decoded(stream, spec, "") as lines:
        yield from _table_records(_csv_rows(lines), spec, uri, separator=",")


def _csv_rows(lines: io.TextIOWrapper) -> Iterator[Row]:
    """Yields line number and fields of each row; every line of a row that is no CSV counts as a record of its own."""
    csv.field_size_limit(FIELD_LIMIT_CHARS)
    pending: list[str] = []
    at_end = False

    def watched() -> Iterator[str]:
        nonlocal at_end
        for line in lines:
            pending.append(line)
            yield line
        at_end = True

    reader = csv.reader(watched(), strict=True)  # Or a stray quote would join rows up to the next one.
    number = 1
    while True:
        pending.clear()
        reason = None
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            reason = "malformed"
        if at_end and pending:  # The reader asked for another line: a quote was open.
            reason = "unclosed_quote"
        if reason is not None:
            for offset, line in enumerate(pending):
                yield number + offset, Record(number + offset, line, reason=reason)
        elif fields:
            yield number, fields
        number += len(pending)


def _table_records(rows: Iterator[Row], spec: CorpusSpec, uri: str, *, separator: str) -> Iterator[Record]:
    first = next(rows, None)
    if first is None:
        return
    header = first[1]
    if isinstance(header, Record):
        raise UserError(f"the first line of {uri} has a quote that never closes; mend the file, or leave it out")
    if is_headerless(spec):
        text, label, category = positions(spec, num_columns=len(header), file_name=uri)
        rows = itertools.chain([first], rows)
    else:
        columns = recognise(header, spec, file_name=uri)
        text = header.index(columns.text)
        label = None if columns.label is None else header.index(columns.label)
        category = None if columns.category is None else header.index(columns.category)
    read_value = functools.lru_cache(maxsize=1000)(value_text)  # Labels and categories are few, and come again.
    for number, fields in rows:
        if isinstance(fields, Record):
            yield fields
        elif len(fields) != len(header):
            yield Record(number, separator.join(fields), reason="columns")
        else:
            yield Record(
                number,
                fields[text],
                None if label is None else read_value(fields[label]),
                None if category is None else read_value(fields[category]),
            )


def _read_json_lines(stream: IO[bytes], spec: CorpusSpec, uri: str) -> Iterator[Record]:
    with _decoded(stream, spec, "\n") as lines:
        records = ((number, line, _parsed(line)) for number, line in enumerate(lines, 1) if not line.isspace())
        peeked = list(itertools.islice(records, PEEK_LINES))
        names = list(dict.fromkeys(key for _, _, values in peeked if values is not None for key in values))
        if not peeked:
            return
        if not names:
            is_array = peeked[0][1].lstrip().startswith("[")
            advice = "turn its one array into lines" if is_array else "set corpus.format to what it is"
            raise UserError(f"{uri} holds no JSON objects, one a line; {advice}")
        columns = recognise(names, spec, file_name=uri)
        for number, line, values in itertools.chain(peeked, records):
            if values is None:
                yield Record(number, line, reason="malformed")
            else:
                yield _record_of(number, values, columns)


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _record_of(number: int, values: dict[str, Any], columns: Columns) -> Record:
    text = values.get(columns.text)
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    if text is not None and not isinstance(text, str):
        text = None if isinstance(text, dict | list) else str(text)
    label = None if columns.label is None else value_text(values.get(columns.label))
    category = None if columns.category is None else value_text(values.get(columns.category))
    if text is None:
        return Record(number, json.dumps(values, default=str), label, category, reason="no_text")
    return Record(number, text, label, category)


def _read_parquet(stream: IO[bytes], spec: CorpusSpec, uri: str) -> Iterator[Record]:
    with _seekable(stream) as seekable, pq.ParquetFile(seekable) as file:
        columns = recognise(file.schema_arrow.names, spec, file_name=uri)
        wanted = [name for name in (columns.text, columns.label, columns.category) if name is not None]
        batches = file.iter_batches(batch_size=BATCH_ROWS, columns=wanted, use_threads=False)
        number = itertools.count(1)
        for batch in batches:
            for values in batch.to_pylist():
                yield _record_of(next(number), values, columns)


def _read_npy(stream: IO[bytes], _spec: CorpusSpec, uri: str) -> Iterator[Record]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "array.npy"
        with open(path, "wb") as sink:
            shutil.copyfileobj(stream, sink)
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError:
            raise UserError(
                f"{uri} is no array of str (pickled objects are never loaded); "
                "save it by np.save(path, array.astype(str))"
            ) from None
        if array.ndim != 1 or array.dtype.kind != "U":
            raise UserError(f"{uri} holds {array.ndim}-D {array.dtype}; it must be a 1-D array of str")
        step = max(1, BATCH_BYTES // max(1, array.itemsize))
        for start in range(0, len(array), step):
            for offset, text in enumerate(array[start : start + step].tolist()):
                yield Record(start + offset + 1, text)


def _read_twitter_archive(stream: IO[bytes], spec: CorpusSpec, uri: str) -> Iterator[Record]:
    """Tweets with their language as category; `source`, the name of the app that sent them, is none."""
    with _decoded(stream, spec, "\n") as content:
        tweets = iter_tweets(content, uri=uri)
        peeked = list(itertools.islice(tweets, PEEK_LINES))
        names = list(dict.fromkeys(key for values in peeked if values is not None for key in values))
        if not peeked:
            return
        found = recognise(names, spec, file_name=uri)
        columns = dataclasses.replace(found, category=spec.category_column or ("lang" if "lang" in names else None))
        for number, values in enumerate(itertools.chain(peeked, tweets), 1):
            yield Record(number, "", reason="malformed") if values is None else _record_of(number, values, columns)


def _read_text(stream: IO[bytes], spec: CorpusSpec, _uri: str) -> Iterator[Record]:
    """A document a line, a paragraph or a file; lines without text separate and are not records themselves."""
    with _decoded(stream, spec, None) as decoded:
        lines: Iterator[Line] = enumerate(decoded, 1)
        if "book_edges" in spec.rules:
            lines = book_lines(lines)
        if spec.document_unit == "file":
            yield Record(1, "".join(line for _, line in lines))
        elif spec.document_unit == "line":
            for number, line in lines:
                if not line.isspace():
                    yield Record(number, line.removesuffix("\n"))
        else:
            yield from _paragraphs(lines)


def _paragraphs(lines: Iterable[Line]) -> Iterator[Record]:
    first = 0
    paragraph: list[str] = []
    for number, line in itertools.chain(lines, [(0, " ")]):
        if not line.isspace():
            first = first if paragraph else number
            paragraph.append(line)
        elif paragraph:
            yield Record(first, "".join(paragraph).removesuffix("\n"))
            paragraph.clear()


@contextlib.contextmanager
def _seekable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """Gives a stream that can seek: what was packed is unpacked to a temporary file."""
    if isinstance(stream, io.BufferedReader):
        yield stream
        return
    with tempfile.TemporaryFile() as unpacked:
        shutil.copyfileobj(stream, unpacked)
        unpacked.seek(0)
        yield unpacked


READERS: dict[str, Reader] = {
    "tsv": _read_tsv,
    "csv": _read_csv,
    "jsonl": _read_json_lines,
    "parquet": _read_parquet,
    "text": _read_text,
    "npy": _read_npy,
    "twitter_archive": _read_twitter_archive,
}
"""By the spec's name of the format; each takes the stream, the spec, and the file's URI for its messages."""
