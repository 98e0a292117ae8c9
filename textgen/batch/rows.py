"""The rows of input files: JSON lines, Parquet and plain text, read from any position that a shard begins at.

A position is a byte of the (unpacked) file, or in Parquet a row. A row's number counts from 1: the lines of a file,
empty ones included, or the rows of a Parquet file.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from textgen import storage
from textgen.corpus.naming import format_of
from textgen.corpus.sources import MOVIE_REVIEWS, resolve
from textgen.errors import UserError
from textgen.progress import Say

Form = Literal["text", "jsonl", "parquet"]
Values = Mapping[str, Any]
END = 2**62
"""The position behind the last one of a file whose unpacked size is not known."""
BOM = b"\xef\xbb\xbf"
BATCH_ROWS = 1000
UNPACKERS: Mapping[str, Callable[[Any], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
OTHER_PACKERS = (".zst", ".zstd", ".lz4", ".lzma", ".gzip", ".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz")
BROKEN = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error)
"""What unpackers raise over a broken file, beside the `OSError` of bz2."""


class Row(NamedTuple):
    """One prompt or text, and what stands beside it."""

    uri: str
    number: int
    values: Values


class Raw(NamedTuple):
    """A row before it is parsed."""

    position: int
    next_position: int
    content: Any
    """The bytes of a line, or the values of a Parquet row."""


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file of prompts or texts."""

    uri: str
    size_bytes: int
    version: str
    """Differs where the content does (`storage.File`)."""

    @property
    def form(self) -> Form:
        """How rows stand in the file."""
        return _form_of(self.uri)

    @property
    def is_packed(self) -> bool:
        """Says whether only the whole file can be unpacked."""
        return _is_packed(self.uri)

    @property
    def is_cut_by_bytes(self) -> bool:
        """Says whether reading may begin at any byte."""
        return self.form != "parquet" and not self.is_packed

    def rows(self, start: int, stop: int, *, last: int | None = None) -> Iterator[Raw]:
        """Yields the rows that begin at positions [start, stop), empty lines included.

        Args:
            start: A line that begins earlier and reaches beyond it is left out.
            stop: Where the last row may not begin any more.
            last: Where the last row ends at the latest, if known: nothing is read beyond.
        """
        if self.form == "parquet":
            yield from _parquet_rows(self, start, stop)
        elif self.size_bytes > 0:
            before = max(start - 1, 0)  # The end of the line before may be the byte before.
            with _opened(self, before, last or self.size_bytes) as stream:
                yield from lines_between(stream, start=start, stop=stop)

    def parsed(self, raw: Raw) -> Values | None:
        """Returns the values of a row by name, a line of text as `text`; None for an empty line.

        Raises:
            UserError: it is not UTF-8, or not a JSON object.
        """
        if self.form == "parquet":
            return {name: _without_nulls(value) for name, value in raw.content.items() if value is not None}
        try:
            line = raw.content.removeprefix(BOM if raw.position == 0 else b"").removesuffix(b"\n").removesuffix(b"\r")
            text = line.decode()
        except UnicodeDecodeError:
            raise UserError("the line is not UTF-8; convert the file first") from None
        if not text.strip():
            return None
        if self.form == "text":
            return {"text": text}
        try:
            return dict(json.loads(text))
        except (TypeError, ValueError, RecursionError):
            raise UserError("the line is not a JSON object; correct it") from None

    def error(self, number: int, error: UserError) -> UserError:
        """Returns an error as that of a row."""
        return UserError(f"row {number:,} of {self.uri}: {error}")

    def check_unchanged(self) -> None:
        """Makes sure that the file is still the one that was planned.

        Raises:
            UserError: it is not.
        """
        found = [file for file in storage.list_files(self.uri) if file.uri == self.uri]
        if [(file.size_bytes, file.version) for file in found] != [(self.size_bytes, self.version)]:
            raise self.changed()

    def changed(self) -> UserError:
        """Returns the error of a file that is not the one that was planned any more."""
        return UserError(f"{self.uri} has changed since this batch began; choose another --output for the new file")


def input_files(uris: Sequence[str], *, output: str, say: Say) -> list[InputFile]:
    """Returns the files that URIs, folders and patterns stand for, in the order of their names.

    Raises:
        UserError: there are none, or one is of a format that is not read.
    """
    found = resolve(uris, output=output, say=lambda message: say(message.removeprefix("ingest: ")))
    files = [InputFile(uri=file.uri, size_bytes=file.size_bytes, version=file.version) for file in found]
    for file in files:
        _form_of(file.uri)
    return files


def _form_of(uri: str) -> Form:
    name = uri.rpartition("/")[2]
    if uri != MOVIE_REVIEWS and not name.lower().endswith(OTHER_PACKERS):
        form = format_of(name)
        if form is None or form == "text":
            return "text"
        if form == "jsonl":
            return "jsonl"
        if form == "parquet" and not _is_packed(uri):
            return "parquet"
    raise UserError(
        f"--input received {uri}; it reads JSON lines (.jsonl, .json), Parquet and plain text, the lines also packed "
        "by gzip, bzip2 or xz: convert the file to one of these first"
    )


def _is_packed(uri: str) -> bool:
    return uri.endswith(tuple(UNPACKERS))


def lines_between(stream: IO[bytes], *, start: int, stop: int) -> Iterator[Raw]:
    """Yields the lines that begin at [start, stop) of a stream that stands at `max(start - 1, 0)`.

    Every line of a file is in exactly one of the ranges that the file is cut into. Only a line feed ends a line.
    """
    position = start
    if start > 0:
        position += len(stream.readline()) - 1
    while position < stop and (line := stream.readline()):
        yield Raw(position, position + len(line), line)
        position += len(line)


@contextlib.contextmanager
def _opened(file: InputFile, start: int, stop: int) -> Iterator[IO[bytes]]:
    if not file.is_packed:
        with storage.open_range(file.uri, start=start, stop=min(stop, file.size_bytes)) as stream:
            yield stream
        return
    unpack = UNPACKERS[file.uri[file.uri.rindex(".") :]]
    with storage.open_read(file.uri) as packed, unpack(packed) as unpacked:
        try:
            unpacked.seek(start)
            yield unpacked
        except (*BROKEN, OSError) as error:
            if not isinstance(error, BROKEN) and error.errno is not None:
                raise
            raise UserError(f"{file.uri} cannot be unpacked ({error}); put a whole file in its place") from None


def _parquet_rows(file: InputFile, start: int, stop: int) -> Iterator[Raw]:
    with storage.open_seekable(file.uri) as stream:
        try:
            opened = pq.ParquetFile(stream)
        except pa.ArrowInvalid as error:
            raise UserError(f"{file.uri} is not a Parquet file ({error}); put another in its place") from None
        position = 0
        for group in range(opened.metadata.num_row_groups):
            num_rows = opened.metadata.row_group(group).num_rows
            if position + num_rows <= start or position >= stop:
                position += num_rows
                continue
            for batch in opened.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], use_threads=False):
                if position + batch.num_rows > start and position < stop:
                    for offset, values in enumerate(batch.to_pylist()):
                        if start <= position + offset < stop:
                            yield Raw(position + offset, position + offset + 1, values)
                position += batch.num_rows


def _without_nulls(value: Any) -> Any:
    """Returns a value of Parquet, of a struct only the fields that are set."""
    if isinstance(value, dict):
        return {name: _without_nulls(field) for name, field in value.items() if field is not None}
    return value
