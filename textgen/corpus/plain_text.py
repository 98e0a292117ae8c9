"""Reads records from plain text and from NumPy arrays of str."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from textgen.corpus.books import Line, book_lines
from textgen.corpus.detection import encoding_of, head_text, looks_like_table
from textgen.corpus.formats import Record, Source, decoded
from textgen.corpus.json_records import looks_like_json
from textgen.corpus.nulls import is_missing_text
from textgen.corpus.schema import TEXT_COLUMNS, Columns, recognise, value_text
from textgen.errors import UserError

BATCH_BYTES = 4 * 2**20


def read_text(stream: IO[bytes], source: Source) -> Iterator[Record]:
    """Reads one document per line, paragraph or file; blank lines are separators, not records."""
    spec = source.spec
    encoding = encoding_of(source.head, spec)
    warnings = _doubts(head_text(source, encoding), source)
    columns = _folders(source)
    with decoded(stream, encoding, None) as lines_of_stream:
        source.begin("text", columns, encoding=encoding.removesuffix("-sig"), warnings=warnings)
        lines: Iterator[Line] = enumerate(lines_of_stream, 1)
        if "book_edges" in spec.rules:
            lines = book_lines(lines)
        if spec.document_unit == "file":
            records: Iterator[Record] = iter([Record(1, "".join(line for _, line in lines))])
        elif spec.document_unit == "line":
            records = (Record(number, line.removesuffix("\n")) for number, line in lines if not line.isspace())
        else:
            records = _paragraphs(lines)
        yield from _with_folder_values(records, columns, source)


def read_npy(stream: IO[bytes], source: Source) -> Iterator[Record]:
    """Reads a one-dimensional array of str."""
    columns = _folders(source)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "array.npy"
        with open(path, "wb") as sink:
            shutil.copyfileobj(stream, sink)
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError:
            raise UserError(
                f"{source.uri} is not an array of str (pickled objects are never loaded); "
                "save it with np.save(path, array.astype(str))"
            ) from None
        if array.ndim != 1 or array.dtype.kind != "U":
            raise UserError(f"{source.uri} holds {array.ndim}-D {array.dtype}; it must be a 1-D array of str")
        source.begin("npy", columns)
        yield from _with_folder_values(_elements(array), columns, source)


def _elements(array: np.ndarray[tuple[int, ...], np.dtype[np.str_]]) -> Iterator[Record]:
    step = max(1, BATCH_BYTES // max(1, array.itemsize))
    for start in range(0, len(array), step):
        for offset, text in enumerate(array[start : start + step].tolist()):
            yield Record(start + offset + 1, text, reason="no_text" if is_missing_text(text) else None)


def _doubts(head: str, source: Source) -> tuple[str, ...]:
    """Warns if the text seems to be a table or JSON, whose lines would become documents with all their columns."""
    kind: str | None
    if looks_like_json(head, is_whole=source.is_whole):
        kind = "jsonl"
    else:
        delimiter = looks_like_table(source, head, is_wanted=_knows_text)
        kind = None if delimiter is None else "tsv" if delimiter == "\t" else "csv"
    if kind is None:
        return ()
    return (f"the lines read as text look like {kind.upper()} with several columns; if so, set corpus.format={kind}",)


def _knows_text(header: Sequence[str]) -> bool:
    return any(name.strip().strip('"').lower() in TEXT_COLUMNS for name in header)


def _folders(source: Source) -> Columns:
    """Returns the label and category columns given by folder names; a text file has no columns of its own."""
    return recognise((), source.spec, file_name=source.uri, partitions=tuple(source.partitions), has_text_column=False)


def _with_folder_values(records: Iterator[Record], columns: Columns, source: Source) -> Iterator[Record]:
    if columns.label is None and columns.category is None:
        yield from records
        return
    label = value_text(source.partitions.get(columns.label or ""))
    category = value_text(source.partitions.get(columns.category or ""))
    for record in records:
        yield record._replace(label=label, category=category)


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
