"""Types that all format readers share: records, the source they come from, and the report of how it was read."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from textgen.corpus.note_tweets import NoteTweets
from textgen.corpus.schema import Columns
from textgen.spec import CorpusSpec

PEEK_ROWS = 1000
"""Records examined before the first is yielded, because JSON objects may lack keys that later ones have."""
REPEATED_HEADER = "repeated_header"
"""Reason for a header line repeated within a table. Such a line is dropped but does not count as rejected."""


class Record(NamedTuple):
    """One row of a source file. If it cannot be read, `reason` says why and `text` is an excerpt."""

    row: int
    """Line on which the record starts (line-based formats) or its number, from 1."""
    text: str | None
    label: str | None = None
    category: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReadAs:
    """How a file, or a member of an archive, was read."""

    format: str
    packing: tuple[str, ...] = ()
    """Compression and archive types, outermost first."""
    encoding: str | None = None
    delimiter: str | None = None
    quotes: str | None = None
    """Quoting of a table: `csv` (quotes are doubled within fields), `backslash` (escaped within fields) or `none`."""
    columns: Mapping[str, str | None] = field(default_factory=dict)
    """Names of the columns used as text, label and category."""
    chosen_by: Mapping[str, str] = field(default_factory=dict)
    """Reason for the choice of each column that is present."""
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields that are not empty, ready for JSON."""
        values = {
            "format": self.format,
            "packing": list(self.packing),
            "encoding": self.encoding,
            "delimiter": self.delimiter,
            "quotes": self.quotes,
            "columns": dict(self.columns),
            "chosen_by": dict(self.chosen_by),
            "warnings": list(self.warnings),
        }
        return {name: value for name, value in values.items() if value}


@dataclass(kw_only=True)
class FileReport:
    """How one source file was read. Readers add to it while they read."""

    read_as: list[tuple[int, ReadAs]] = field(default_factory=list)
    """First row of each part (the file, or a member of an archive) and how it was read."""
    notes: list[str] = field(default_factory=list)
    """Messages for the user."""
    left_out: list[str] = field(default_factory=list)
    """Archive members that were skipped because they hold no data or are not selected."""
    num_earlier: int = 0
    """Number of rows in the members before the current one."""

    def at(self, row: int) -> ReadAs | None:
        """Returns how a row was read."""
        return next((found for first, found in reversed(self.read_as) if first <= row), None)


@dataclass(frozen=True, kw_only=True)
class Source:
    """The file or archive member that a reader reads."""

    uri: str
    """URI for messages, followed by the member's path if it is a member of an archive."""
    spec: CorpusSpec
    head: bytes = b""
    """First bytes, decompressed."""
    is_whole: bool = False
    """Whether `head` is the complete content."""
    packing: tuple[str, ...] = ()
    partitions: Mapping[str, str | None] = field(default_factory=dict)
    """Columns whose value is given by the name of a folder."""
    note_tweets: NoteTweets | None = None
    report: FileReport = field(default_factory=FileReport)

    def begin(
        self,
        format_name: str,
        columns: Columns,
        *,
        encoding: str | None = None,
        delimiter: str | None = None,
        quotes: str | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        """Adds to the report how the following records are read."""
        names = {"text": columns.text or None, "label": columns.label, "category": columns.category}
        read_as = ReadAs(
            format=format_name,
            packing=self.packing,
            encoding=encoding,
            delimiter=delimiter,
            quotes=quotes,
            columns=names if any(names.values()) else {},
            chosen_by=columns.chosen_by,
            warnings=warnings,
        )
        self.report.read_as.append((self.report.num_earlier + 1, read_as))


Reader = Callable[[IO[bytes], Source], Iterator[Record]]


@contextlib.contextmanager
def decoded(stream: IO[bytes], encoding: str, newline: str | None) -> Iterator[io.TextIOWrapper]:
    """Decodes a stream as text; invalid bytes become lone surrogates."""
    lines = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline=newline)
    try:
        yield lines
    finally:
        lines.detach()  # Leaves closing the stream to the code that opened it.
