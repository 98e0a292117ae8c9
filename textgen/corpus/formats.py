"""What the readers of all formats share: records, the file that they come from, and how it was read."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from textgen.spec import CorpusSpec

if TYPE_CHECKING:
    from textgen.corpus.schema import Columns
    from textgen.corpus.twitter_archive import NoteTweets

PEEK_ROWS = 1000
"""Records that are looked at before the first is given out: some JSON objects lack keys that others have."""
REPEATED_HEADER = "repeated_header"
"""Reason of a header line that stands again within a table; such a line is dropped, and not rejected."""


class Record(NamedTuple):
    """One row of a source file; `reason` says why it cannot be read, and then `text` is an excerpt of it."""

    row: int
    """The line on which it starts (formats of lines) or its number, from 1."""
    text: str | None
    label: str | None = None
    category: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReadAs:
    """How a file, or a member of an archive, was read."""

    format: str
    packing: tuple[str, ...] = ()
    """What it was unpacked from, the outermost first."""
    encoding: str | None = None
    delimiter: str | None = None
    quotes: str | None = None
    """What quotes are in a table: `csv` (around fields, doubled within), `backslash` (escaped within), `none`."""
    columns: Mapping[str, str | None] = field(default_factory=dict)
    """Names of the columns taken for text, label and category."""
    chosen_by: Mapping[str, str] = field(default_factory=dict)
    """Why, for each of these columns that there is."""
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns what is not empty, JSON-ready."""
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
    """What is known about the reading of one source file; readers add to it while they read."""

    read_as: list[tuple[int, ReadAs]] = field(default_factory=list)
    """First row of each part (a member of an archive) and how it was read."""
    notes: list[str] = field(default_factory=list)
    """What a user should know, in sentences."""
    left_out: list[str] = field(default_factory=list)
    """Members of an archive that hold no data."""
    num_earlier: int = 0
    """Rows of the members before the one that is being read."""

    def at(self, row: int) -> ReadAs | None:
        """Returns how a row was read."""
        return next((found for first, found in reversed(self.read_as) if first <= row), None)


@dataclass(frozen=True, kw_only=True)
class Source:
    """The file, or the member of an archive, that a reader reads."""

    uri: str
    """For messages: the file's URI, with the member's name where it is one."""
    spec: CorpusSpec
    head: bytes = b""
    """The first bytes, unpacked."""
    is_whole: bool = False
    """Says that `head` is all of it."""
    packing: tuple[str, ...] = ()
    partitions: Mapping[str, str | None] = field(default_factory=dict)
    """Columns whose value stands in the name of a folder."""
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
        """Reports how the records that follow are read."""
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
    """Gives a stream as text; bytes that are not of the encoding become lone surrogates."""
    lines = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline=newline)
    try:
        yield lines
    finally:
        lines.detach()  # The stream is closed where it was opened.
