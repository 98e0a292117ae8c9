"""Reads records from TSV and CSV."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from textgen.corpus.delimited import Dialect, Row, rows_of
from textgen.corpus.detection import cause_of, dialect_of, encoding_of, head_text, line_end
from textgen.corpus.doubts import DOUBTED_ROWS, doubts
from textgen.corpus.formats import PEEK_ROWS, REPEATED_HEADER, Record, Source, decoded
from textgen.corpus.nulls import LONGEST_MISSING, MISSING
from textgen.corpus.schema import (
    BY_FOLDER,
    BY_SETTING,
    TEXT_COLUMNS,
    Columns,
    RepeatedColumnError,
    UnknownColumnsError,
    is_headerless,
    positions,
    recognise,
    value_text,
)
from textgen.errors import UserError
from textgen.spec import CorpusSpec


def read_tsv(stream: IO[bytes], source: Source) -> Iterator[Record]:
    """Reads tab-separated values. Quotes are text, as in the Amazon reviews, unless the head shows quoted fields."""
    return _read_table(stream, source, kind="tsv")


def read_csv(stream: IO[bytes], source: Source) -> Iterator[Record]:
    """Reads comma-separated values."""
    return _read_table(stream, source, kind="csv")


def _read_table(stream: IO[bytes], source: Source, *, kind: str) -> Iterator[Record]:
    encoding = encoding_of(source.head, source.spec)
    head = head_text(source, encoding)
    dialect = dialect_of(
        source, head, kind=kind, is_wanted=functools.partial(_holds_wanted, spec=source.spec, uri=source.uri)
    )
    newline = line_end(head) if dialect.quotes == "none" else ""  # A lone CR may stand inside a review.
    with decoded(stream, encoding, newline) as lines:
        rows = rows_of(lines, dialect)
        peeked = list(itertools.islice(rows, PEEK_ROWS))
        if not peeked:
            return
        if isinstance(peeked[0][1], Record):
            raise UserError(
                f"the first line of {source.uri} has an unclosed quote, or text after a closing quote; set "
                "corpus.quoting=none if quotes are part of the text, or correct the file"
            )
        try:
            table = _table_of(peeked, source)
        except UnknownColumnsError as error:
            raise UnknownColumnsError(f"{error}{cause_of(source, head, dialect)}") from None
        source.begin(
            kind,
            table.columns,
            encoding=encoding.removesuffix("-sig"),
            delimiter=dialect.delimiter,
            quotes="csv" if dialect.quotes == "padded" else dialect.quotes,
            warnings=_doubts(table, peeked),
        )
        records = table.records(itertools.chain(peeked[table.has_header :], rows), dialect)
        yield from _without_split_rows(records, table, dialect) if table.text == table.width - 1 else records


def _holds_wanted(header: Sequence[str], *, spec: CorpusSpec, uri: str) -> bool:
    if spec.text_column in header:
        return True
    if is_headerless(spec):
        return int(spec.text_column or 0) < len(header)
    try:
        recognise(header, spec, file_name=uri)
    except RepeatedColumnError:
        return True  # `_table_of` reports the error.
    except UnknownColumnsError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Positions of the columns of a table."""

    columns: Columns
    header: list[str] | None
    width: int
    text: int
    label: int | None
    category: int | None
    constants: Mapping[str, str | None]
    """Label and category if given by a folder name, by role."""

    @property
    def has_header(self) -> bool:
        return self.header is not None

    def records(self, rows: Iterator[Row] | itertools.chain[Row], dialect: Dialect) -> Iterator[Record]:
        """Yields the record of each row after the header."""
        read_value = functools.lru_cache(maxsize=1000)(value_text)  # Labels and categories have few distinct values.
        text, label, category, width = self.text, self.label, self.category, self.width
        same_label, same_category = self.constants.get("label"), self.constants.get("category")
        names = [_plain(name) for name in self.header or ()]
        longest = max(map(len, names), default=-1) + 2
        for number, fields in rows:
            if isinstance(fields, Record):
                yield fields
            elif len(fields) != width:
                yield Record(number, dialect.delimiter.join(fields), reason="columns")
            else:
                value = fields[text]
                found_label = same_label if label is None else read_value(fields[label])
                found_category = same_category if category is None else read_value(fields[category])
                if len(value) <= longest and _plain(value) in names and _are_names(fields, names):
                    yield Record(number, dialect.delimiter.join(fields), reason=REPEATED_HEADER)
                    order = [_plain(field) for field in fields]  # Concatenated files may order columns differently.
                    text = order.index(names[self.text])
                    label = None if self.label is None else order.index(names[self.label])
                    category = None if self.category is None else order.index(names[self.category])
                elif len(value) <= LONGEST_MISSING and value in MISSING:
                    yield Record(number, value, found_label, found_category, reason="no_text")
                else:
                    yield Record(number, value, found_label, found_category)


def _plain(name: str) -> str:
    return name.strip("\ufeff \t").lower()


def _are_names(fields: Sequence[str], names: Sequence[str]) -> bool:
    return sorted(map(_plain, fields)) == sorted(names)


def _table_of(peeked: Sequence[Row], source: Source) -> _Table:
    first = peeked[0][1]
    assert not isinstance(first, Record)
    header = [*_row_names(peeked), *first]
    spec, partitions = source.spec, source.partitions
    if is_headerless(spec) and not _is_header(peeked, spec, uri=source.uri):
        text, label, category = positions(
            spec, num_columns=len(header), file_name=source.uri, partitions=tuple(partitions)
        )
        columns, known_header = _columns_by_position(text, label, category), None
        if header[text].strip().lower() in TEXT_COLUMNS:
            known_header = header  # The first row is a header after all.
    else:
        columns = recognise(header, spec, file_name=source.uri, partitions=tuple(partitions))
        known_header = header
        text = header.index(columns.text) if columns.text in header else -1
        label = header.index(columns.label) if columns.label in header else columns.label
        category = header.index(columns.category) if columns.category in header else columns.category
    if text == -1:
        raise UserError(
            f"corpus.text_column is {columns.text!r}, which is given by a folder name of {source.uri} and has the same "
            "value in every row; name a column of the file"
        )
    return _Table(
        columns=columns,
        header=known_header,
        width=len(header),
        text=text,
        label=label if isinstance(label, int) else None,
        category=category if isinstance(category, int) else None,
        constants={
            role: value_text(partitions.get(name))
            for role, name in (("label", label), ("category", category))
            if isinstance(name, str)
        },
    )


def _row_names(peeked: Sequence[Row]) -> list[str]:
    """Returns [""] if the header lacks a name for the first column, as R writes row names, else []."""
    first = peeked[0][1]
    if isinstance(first, Record):
        return []
    widths = {len(row) for _, row in peeked[1:] if not isinstance(row, Record)}
    return [""] if widths == {len(first) + 1} and not any(cell.isdecimal() for cell in first) else []


def _columns_by_position(text: int, label: int | str | None, category: int | str | None) -> Columns:
    places = {"text": text, "label": label, "category": category}
    named = {role: str(place) for role, place in places.items() if place is not None}
    why = {
        role: f"{BY_SETTING.format(role=role)}, a position" if isinstance(places[role], int) else BY_FOLDER
        for role in named
    }
    return Columns(text=named["text"], label=named.get("label"), category=named.get("category"), chosen_by=why)


def _is_header(peeked: Sequence[Row], spec: CorpusSpec, *, uri: str) -> bool:
    """Returns whether the first row is a header that names columns by numbers, including the given text column.

    Raises:
        UserError: The number may be a name or a position.
    """
    header = peeked[0][1]
    wanted = spec.text_column or ""
    if isinstance(header, Record) or wanted not in header:
        return False
    numbers = header if header[0] else header[1:]
    if numbers == [str(place) for place in range(len(numbers))]:  # Pandas writes unnamed columns like this.
        return True
    rows = [row for _, row in peeked[1:] if not isinstance(row, Record) and len(row) == len(header)]
    named, place = header.index(wanted), int(wanted)
    if place >= len(header):
        return True

    if not rows:
        return " " not in header[place]

    def is_text(column: int) -> bool:
        return sum(" " in row[column].strip() for row in rows) > len(rows) / 2

    if named != place and is_text(named) != is_text(place):
        return is_text(named)
    raise UserError(
        f"the first line of {uri} is {header[:6]}, so corpus.text_column={wanted} may mean the column with that name "
        "or the column at that position; rename the columns and set corpus.text_column to a name"
    )


def _doubts(table: _Table, peeked: Sequence[Row]) -> tuple[str, ...]:
    names = table.header or [str(place) for place in range(table.width)]
    rows = [
        row
        for _, row in peeked[table.has_header : DOUBTED_ROWS]
        if not isinstance(row, Record) and len(row) == table.width
    ]
    values = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return doubts(names[table.text], values, is_named=table.columns.chosen_by.get("text", "").startswith("named"))


def _without_split_rows(records: Iterator[Record], table: _Table, dialect: Dialect) -> Iterator[Record]:
    """Rejects a row that is followed by one with too few columns: a line break has split its text, the last column."""
    held: Record | None = None
    for record in records:
        if held is not None:
            is_rest = record.reason == "columns" and (record.text or "").count(dialect.delimiter) < table.width - 1
            yield held._replace(reason="columns") if is_rest and held.reason is None else held
        held = record
    if held is not None:
        yield held
