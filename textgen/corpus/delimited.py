"""Parses the lines of delimited tables into rows, for each supported style of quoting."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from textgen.corpus.formats import Record

FIELD_LIMIT_CHARS = 16 * 2**20
"""A longer CSV field counts as an unclosed quote."""

Row = tuple[int, list[str] | Record]
"""Line number on which the row starts, and its fields, or a rejected `Record` if it cannot be parsed."""
Quotes = Literal["csv", "backslash", "padded", "none"]


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a table separates and quotes its fields."""

    delimiter: str
    quotes: Quotes
    """`padded` is `csv` with spaces around the quotes."""
    skip_spaces: bool = False
    """Whether spaces after a delimiter are ignored."""
    has_sep_line: bool = False
    """Whether the first line is Excel's `sep=` line."""


def csv_rows(lines: Iterable[str], dialect: Dialect) -> Iterator[Row]:
    """Yields line number and fields of each row. Each line of a malformed row becomes a rejected record."""
    csv.field_size_limit(FIELD_LIMIT_CHARS)
    pending: list[str] = []
    at_end = False

    def watched() -> Iterator[str]:
        nonlocal at_end
        for line in lines:
            pending.append(line)
            yield line
        at_end = True

    reader = csv.reader(
        watched(),
        delimiter=dialect.delimiter,
        escapechar="\\" if dialect.quotes == "backslash" else None,
        skipinitialspace=dialect.skip_spaces,
        strict=True,  # Otherwise a stray quote joins all rows up to the next quote.
    )
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
        if at_end and pending:  # The reader requested a line after the last one: a quote is open.
            reason = "unclosed_quote"
        if reason is not None:
            for offset, line in enumerate(pending):
                yield number + offset, Record(number + offset, line, reason=reason)
        elif fields:
            yield number, fields
        number += len(pending)


def padded_rows(lines: Iterable[str], delimiter: str) -> Iterator[Row]:
    """Yields the rows of a CSV with spaces around quoted fields, such as `"a" , "b"`, which `csv` rejects."""
    mark = re.escape(delimiter)
    field = re.compile(rf'[ ]*(?:"((?:[^"]|"")*)"[ ]*|([^"{mark}]*))(?:({mark})|\r?\n?\Z)')
    pending = ""
    first = number = 0
    for line in lines:
        number += 1
        first = first if pending else number
        pending += line
        if pending.count('"') % 2 and len(pending) <= FIELD_LIMIT_CHARS:
            continue
        if pending.strip("\r\n"):
            fields = _padded_fields(pending, field)
            if fields is not None:
                yield first, fields
            else:
                yield from _malformed(pending, first, "malformed")
        pending = ""
    if pending:
        yield from _malformed(pending, first, "unclosed_quote")


def _padded_fields(row: str, field: re.Pattern[str]) -> list[str] | None:
    fields: list[str] = []
    place = 0
    while True:
        found = field.match(row, place)
        if found is None:
            return None
        quoted, bare, more = found.groups()
        fields.append(bare.strip() if quoted is None else quoted.replace('""', '"'))
        if not more:
            return fields
        place = found.end()


def _malformed(text: str, first: int, reason: str) -> Iterator[Row]:
    for number, line in enumerate(io.StringIO(text, newline=""), first):
        yield number, Record(number, line, reason=reason)


def plain_rows(lines: Iterable[str], delimiter: str) -> Iterator[Row]:
    """Yields the rows of a table without quoting: quotes are ordinary characters."""
    for number, line in enumerate(lines, 1):
        if line.strip("\r\n"):
            yield number, line.rstrip("\r\n").split(delimiter)


def rows_of(lines: Iterable[str], dialect: Dialect) -> Iterator[Row]:
    """Yields the rows of a table without its `sep=` line."""
    if dialect.quotes == "none":
        rows = plain_rows(lines, dialect.delimiter)
    elif dialect.quotes == "padded":
        rows = padded_rows(lines, dialect.delimiter)
    else:
        rows = csv_rows(lines, dialect)
    if dialect.has_sep_line:
        next(rows, None)
    return rows
