"""Reads records from JSON in its common layouts.

Supported are one object per line, an array of objects (on one line or several), concatenated objects, an object that
contains the array, and lines of Python dictionaries. Files with a record per line are read by line, others by object.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from textgen.corpus.detection import encoding_of, head_text, line_end, what_else
from textgen.corpus.doubts import DOUBTED_ROWS, doubts
from textgen.corpus.formats import PEEK_ROWS, Record, Source, decoded
from textgen.corpus.json_scanner import Scanner, path_of_records
from textgen.corpus.nulls import LONGEST_MISSING, MISSING, is_null
from textgen.corpus.schema import Columns, UnknownColumnsError, recognise, value_text
from textgen.errors import UserError

_LINE_END = re.compile(r"\r\n|\r|\n")

Values = dict[str, Any]
Item = tuple[int, str, Values | None]
"""Number, excerpt, and fields, or None if the item is not an object."""


def read_json(stream: IO[bytes], source: Source) -> Iterator[Record]:
    """Reads objects in any of the layouts above, which is detected from the head of the file."""
    encoding = encoding_of(source.head, source.spec)
    head = head_text(source, encoding)
    start = head.lstrip("\ufeff \t\r\n")
    lines_of_head = _lines(head, is_whole=source.is_whole)
    with decoded(stream, encoding, line_end(head)) as lines:
        items: Iterator[Item]
        if _share(lines_of_head, _parsed) and not _wraps(start, lines_of_head, source):
            form, items = "json lines", _by_line(lines, _parsed)
        elif start.startswith("[") and _share(lines_of_head[1:], _parsed_element):
            form, items = "json array", _array_by_line(lines, source.uri)
        elif start.startswith("{") and _is_python(start):
            form, items = "python dictionaries", _by_line(lines, _literal)
        elif start.startswith(("[", "{")) and not _is_python(start):
            path = path_of_records(start, is_wanted=lambda names: _is_wanted(names, source))
            form = "json array" if start.startswith("[") else "json object around an array" if path else "json objects"
            items = Scanner(lines, uri=source.uri).items(path)
        elif start.startswith(("[", "{")):
            form, items = "python dictionaries", _python_array(lines, source)
        else:
            form, items = "json lines", _by_line(lines, _parsed)
        yield from _records(items, source, form=form, encoding=encoding)


def _lines(head: str, *, is_whole: bool) -> list[str]:
    lines = [line for line in _LINE_END.split(head.lstrip("\ufeff")) if not line.isspace() and line]
    return lines if is_whole or len(lines) < 2 else lines[:-1]


def looks_like_json(head: str, *, is_whole: bool) -> bool:
    """Returns whether the first lines of a file are JSON objects."""
    return _share(_lines(head, is_whole=is_whole), _parsed)


def _share(lines: Sequence[str], parse: Any) -> bool:
    """Returns whether at least half of the first 100 lines, and at least one, are records."""
    looked_at = lines[:100]
    good = sum(parse(line) is not None for line in looked_at)
    return good > 0 and good * 2 >= len(looked_at)


def _wraps(start: str, lines: Sequence[str], source: Source) -> bool:
    """Returns whether the first line is an object that contains an array of records."""
    values = _parsed(lines[0]) if lines else None
    if values is None or _is_wanted(list(values), source):
        return False
    return bool(path_of_records(start, is_wanted=lambda names: _is_wanted(names, source)))


def _is_wanted(names: Sequence[str], source: Source) -> bool:
    try:
        recognise(names, source.spec, file_name=source.uri, partitions=tuple(source.partitions))
    except UserError:
        return False
    return True


def _is_python(start: str) -> bool:
    first = start.lstrip("[{ \t\r\n")
    return first.startswith(("'", "u'"))


def _by_line(lines: Iterator[str], parse: Any) -> Iterator[Item]:
    for number, line in enumerate(lines, 1):
        if not line.isspace():
            yield number, line, parse(line)


def _array_by_line(lines: Iterator[str], uri: str) -> Iterator[Item]:
    """Yields one element per line; the brackets may be on separate lines."""
    last = ""
    for number, line in enumerate(lines, 1):
        element = line.strip("\ufeff \t\r\n")
        last = element or last
        if element not in ("[", "]", "", ",", "];"):
            yield number, line, _parsed_element(element)
    if not last.rstrip(";").endswith("]"):
        raise UserError(
            f"{uri} is truncated: its array is never closed; download it again, or remove it from the sources"
        )


def _parsed_element(line: str) -> Values | None:
    """Parses the object on one line of an array, without the array's brackets and commas."""
    element = line.strip("\ufeff \t\r\n;")
    if element.endswith("]") and not element.startswith("]"):
        element = element[:-1]
    return _parsed(element.removeprefix("[").strip(", \t"))


def _parsed(line: str) -> Values | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _literal(line: str) -> Values | None:
    """Parses a line with a Python dictionary."""
    value = _literal_value(line.strip("\ufeff \t\r\n,"))
    return value if isinstance(value, dict) and all(isinstance(key, str) for key in value) else None


def _literal_value(text: str) -> Any:
    if not text.startswith(("{", "[")):
        return None
    try:
        with warnings.catch_warnings():  # Invalid escape sequences cause warnings.
            warnings.simplefilter("ignore")
            tree = ast.parse(text, mode="eval")
            return ast.literal_eval(_LiteralsOnly().visit(tree))
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None


class _LiteralsOnly(ast.NodeTransformer):
    """Replaces everything but literals (`nan`, `ObjectId("...")`, dates) with None, so that no code is evaluated."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = {"true": True, "false": False}.get(node.id)
        return ast.copy_location(ast.Constant(value), node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return ast.copy_location(ast.Constant(None), node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return ast.copy_location(ast.Constant(None), node)


def _python_array(lines: Iterator[str], source: Source) -> Iterator[Item]:
    """Yields the dictionaries of a list: line by line, or from the whole text if the list is on one line."""
    text = "".join(itertools.islice(lines, 2))
    if "\n" in text.strip():
        for number, line in enumerate(itertools.chain(text.splitlines(keepends=True), lines), 1):
            element = line.strip("\ufeff \t\r\n,")
            if element in ("[", "]", ""):
                continue
            values = _literal(element) or _literal(element.removeprefix("[")) or _literal(element.removesuffix("]"))
            yield number, line, values
        return
    whole = _literal_value(text.strip("\ufeff \t\r\n"))
    if not isinstance(whole, list):
        raise UserError(
            f"{source.uri} looks like Python rather than JSON, but cannot be parsed as dictionaries; convert it to "
            "JSON lines, or set corpus.format"
        )
    for number, values in enumerate(whole, 1):
        yield number, repr(values), values if isinstance(values, dict) else None


def _records(items: Iterator[Item], source: Source, *, form: str, encoding: str) -> Iterator[Record]:
    peeked = list(itertools.islice(items, PEEK_ROWS))
    objects = [values for _, _, values in peeked if values is not None]
    if not peeked:
        return
    names = list(dict.fromkeys(key for values in objects for key in values))
    if not names:
        raise UserError(
            f"{source.uri} holds no JSON objects, neither one per line nor in an array{what_else(source)}; set "
            "corpus.format to the format of the file"
        )
    try:
        columns = recognise(names, source.spec, file_name=source.uri, partitions=tuple(source.partitions))
    except UnknownColumnsError as error:
        raise UnknownColumnsError(f"{error}{_by_column(objects)}") from None
    if isinstance(objects[0].get(columns.text), dict | list) and _by_column(objects):
        raise UserError(f"the column {columns.text!r} of {source.uri} holds no text{_by_column(objects)}")
    source.begin(form, columns, encoding=encoding.removesuffix("-sig"), warnings=doubts_of(columns, objects))
    for number, excerpt, values in itertools.chain(peeked, items):
        if values is None:
            yield Record(number, excerpt, reason="malformed")
        else:
            yield record_of(number, values, columns, source.partitions)


def _by_column(objects: Sequence[Values]) -> str:
    """Returns a clause for an error message if the file's only object seems to hold a column-oriented table, or ""."""
    if len(objects) > 1 or not any(isinstance(value, dict | list) for value in objects[0].values()):
        return ""
    return (
        "; the file is one object, and no array of objects with such a column was found in it: write one object per "
        "line (in pandas: to_json(path, orient='records', lines=True))"
    )


def doubts_of(columns: Columns, objects: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Returns the warnings about the text column, based on the first objects."""
    objects = objects[:DOUBTED_ROWS]
    names = dict.fromkeys(name for values in objects for name in values)
    found = {name: [values.get(name) for values in objects] for name in names}
    return doubts(columns.text, found, is_named=columns.chosen_by.get("text", "").startswith("named"))


def record_of(
    number: int,
    values: Mapping[str, Any],
    columns: Columns,
    partitions: Mapping[str, str | None],
    *,
    has_missing: bool = True,
) -> Record:
    """Converts an object to a record.

    Args:
        number: Row number.
        values: Fields of the object. Missing fields are taken from `partitions`.
        columns: Names of the text, label and category fields.
        partitions: Values given by folder names.
        has_missing: Whether a text such as "NaN" counts as missing. In text typed by people it may be meant literally.
    """
    if partitions:
        values = {**partitions, **values}
    text = values.get(columns.text)
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    elif not isinstance(text, str):
        text = None if is_null(text) or isinstance(text, dict | list) else str(text)
    label = None if columns.label is None else value_text(values.get(columns.label))
    category = None if columns.category is None else value_text(values.get(columns.category))
    if text is None or (has_missing and len(text) <= LONGEST_MISSING and text in MISSING):
        return Record(number, json.dumps(values, default=str, ensure_ascii=False), label, category, reason="no_text")
    return Record(number, text, label, category)
