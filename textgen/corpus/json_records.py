"""JSON in all the forms in which records come -> records.

Lines of objects, an array of them (over lines or in one), objects one after another, an object around the array, and
lines of Python dictionaries. What has a record a line is read line by line, the rest object by object.
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
"""Number, excerpt, and the fields; None where it is no object."""


def read_json(stream: IO[bytes], source: Source) -> Iterator[Record]:
    """Reads objects in any of the forms above; the head tells which."""
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
    """Says whether the first lines of a file are JSON objects."""
    return _share(_lines(head, is_whole=is_whole), _parsed)


def _share(lines: Sequence[str], parse: Any) -> bool:
    """Says whether a line of the first ones is a record, and no fewer than half of them are."""
    looked_at = lines[:100]
    good = sum(parse(line) is not None for line in looked_at)
    return good > 0 and good * 2 >= len(looked_at)


def _wraps(start: str, lines: Sequence[str], source: Source) -> bool:
    """Says whether the first line is an object around an array of records."""
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
    """Yields an element a line; the brackets may stand on lines of their own."""
    last = ""
    for number, line in enumerate(lines, 1):
        element = line.strip("\ufeff \t\r\n")
        last = element or last
        if element not in ("[", "]", "", ",", "];"):
            yield number, line, _parsed_element(element)
    if not last.rstrip(";").endswith("]"):
        raise UserError(f"{uri} is cut off: its array never closes; fetch it again, or leave it out of the sources")


def _parsed_element(line: str) -> Values | None:
    """Returns the object of a line of an array; brackets and commas belong to the array."""
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
    """Returns the dictionary of a line of Python."""
    value = _literal_value(line.strip("\ufeff \t\r\n,"))
    return value if isinstance(value, dict) and all(isinstance(key, str) for key in value) else None


def _literal_value(text: str) -> Any:
    if not text.startswith(("{", "[")):
        return None
    try:
        with warnings.catch_warnings():  # A backslash that escapes nothing is one.
            warnings.simplefilter("ignore")
            tree = ast.parse(text, mode="eval")
            return ast.literal_eval(_LiteralsAlone().visit(tree))
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None


class _LiteralsAlone(ast.NodeTransformer):
    """Puts None for what is no literal, such as `nan`, `ObjectId("...")` or a date, so that nothing is ever run."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = {"true": True, "false": False}.get(node.id)
        return ast.copy_location(ast.Constant(value), node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return ast.copy_location(ast.Constant(None), node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return ast.copy_location(ast.Constant(None), node)


def _python_array(lines: Iterator[str], source: Source) -> Iterator[Item]:
    """Yields the dictionaries of a list: an element a line, or all of a small file at once."""
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
            f"{source.uri} looks like Python and not like JSON, but cannot be read as dictionaries; convert it to JSON "
            "lines, or set corpus.format to what it is"
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
            f"{source.uri} holds no JSON objects, one a line or in an array{what_else(source)}; set corpus.format to "
            "what it is"
        )
    try:
        columns = recognise(names, source.spec, file_name=source.uri, partitions=tuple(source.partitions))
    except UnknownColumnsError as error:
        raise UnknownColumnsError(f"{error}{_by_column(objects)}") from None
    if isinstance(objects[0].get(columns.text), dict | list) and _by_column(objects):
        raise UserError(f"no text stands in the column {columns.text!r} of {source.uri}{_by_column(objects)}")
    source.begin(form, columns, encoding=encoding.removesuffix("-sig"), warnings=doubts_of(columns, objects))
    for number, excerpt, values in itertools.chain(peeked, items):
        if values is None:
            yield Record(number, excerpt, reason="malformed")
        else:
            yield record_of(number, values, columns, source.partitions)


def _by_column(objects: Sequence[Values]) -> str:
    """Says, as the end of a message, that a file's only object seems to hold a table by column; empty where not."""
    if len(objects) > 1 or not any(isinstance(value, dict | list) for value in objects[0].values()):
        return ""
    return (
        "; it is one object, and no array of objects with such a column is seen in it: write an object a line (in "
        "pandas: to_json(path, orient='records', lines=True))"
    )


def doubts_of(columns: Columns, objects: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Returns the doubts about the text's column of the first objects."""
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
    """Returns the record of an object.

    Args:
        number: its row.
        values: its fields; where it lacks one, the folder's value is taken.
        columns: which of them hold text, label and category.
        partitions: values that stand in names of folders.
        has_missing: says that a text such as "NaN" stands for none; people do write that where they write themselves.
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
