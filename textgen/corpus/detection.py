"""Detects encoding, line endings, delimiter and quoting from the first bytes of a file."""

from __future__ import annotations

import codecs
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from textgen.corpus.delimited import Dialect, Quotes, rows_of
from textgen.corpus.formats import Record, Source
from textgen.errors import UserError
from textgen.spec import CorpusSpec

ZEROS_CHARS = 1000
ZEROS_SHARE = 0.2
DELIMITERS = (",", ";", "\t", "|")
CONSISTENT_SHARE = 0.9
"""Smallest share of rows with as many fields as the header for which a delimiter is accepted."""
FEWEST_ROWS = 3
"""A text counts as a table only if it has more rows than this."""
NAMES_OF_DELIMITERS = {"\t": "a tab", ";": "';'", "|": "'|'", ",": "','"}

EVEN_SHARE = 0.95
_INSIDE_QUOTES: tuple[tuple[Quotes, str], ...] = (
    ("csv", r'[^"]*(?:""[^"]*)*'),
    ("backslash", r'[^"\\]*(?:(?:\\.|"")[^"\\]*)*'),
)
_TELLING = re.compile(r'""|[\t\r\n]|\\"')
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEP_LINE = re.compile(r"\ufeff?\"?sep=(\\t|.)\"?\r?\n?\Z", re.IGNORECASE | re.DOTALL)


class _QuotedRow(NamedTuple):
    """Evidence of quoting in one row."""

    width: int = 0
    is_quoted: bool = False
    is_telling: bool = False
    """Whether a field's content requires quoting (a delimiter or line break) or was escaped for it."""


def encoding_of(head: bytes, spec: CorpusSpec) -> str:
    """Returns the encoding to read with. A byte order mark overrides the default, UTF-8."""
    if codecs.lookup(spec.encoding).name != "utf-8":
        return spec.encoding
    return next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8-sig")


def head_text(source: Source, encoding: str) -> str:
    """Returns the first bytes decoded, up to the last complete character.

    Raises:
        UserError: The share of zero bytes is too high for text of this encoding.
    """
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(source.head, final=False)
    if text.count("\0", 0, ZEROS_CHARS) > ZEROS_SHARE * min(len(text), ZEROS_CHARS):
        raise UserError(
            f"{source.uri} holds many zero bytes. If it is UTF-16 without a byte order mark, set "
            "corpus.encoding=utf-16-le or utf-16-be; if it is not a text file, set corpus.format"
        )
    return text


def line_end(head: str) -> str | None:
    """Returns the `newline` argument for a text stream: LF, or None if all lines of the head end in CR."""
    return None if "\r" in head and "\n" not in head.rstrip("\n") else "\n"


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """How well a dialect fits the first lines."""

    width: int
    share: float
    """Share of the rows that have as many fields as the first."""
    is_wanted: bool
    rows: list[list[str]]


def dialect_of(source: Source, head: str, *, kind: str, is_wanted: Callable[[Sequence[str]], bool]) -> Dialect:
    """Returns how to parse a table: per the spec, else as its first lines clearly show, else by `kind`.

    Args:
        source: The file and its spec.
        head: First characters of the file.
        kind: `csv` or `tsv`.
        is_wanted: Returns whether a header row contains the required columns.
    """
    lines = _whole_lines(head, is_whole=source.is_whole)
    sep_line = _SEP_LINE.match(lines[0]) if lines else None
    named = source.spec.delimiter_character
    if named is None and sep_line is not None:
        named = "\t" if sep_line[1] == "\\t" else sep_line[1]
    if sep_line is not None:
        lines = lines[1:]
    usual = "\t" if kind == "tsv" else ","
    delimiter = named or _delimiter(lines, usual=usual, is_wanted=is_wanted, is_whole=source.is_whole)
    dialect = Dialect(delimiter=delimiter, quotes="csv", has_sep_line=sep_line is not None)
    if source.spec.quoting != "auto":
        return replace(dialect, quotes="csv" if source.spec.quoting == "csv" else "none")
    if delimiter == "\t":
        return replace(dialect, quotes=_tab_quotes("".join(lines), source.is_whole, is_usual=kind == "csv"))
    return _with_spaces_or_escapes(dialect, lines, is_wanted=is_wanted, is_whole=source.is_whole)


def looks_like_table(source: Source, head: str, *, is_wanted: Callable[[Sequence[str]], bool]) -> str | None:
    """Returns the delimiter if the text seems to be a table with a known column and rows of equal width, or None."""
    lines = _whole_lines(head, is_whole=source.is_whole)
    for delimiter in DELIMITERS:
        for quotes in ("csv", "none"):
            if not lines or delimiter not in lines[0]:
                continue
            dialect = Dialect(delimiter=delimiter, quotes="csv" if quotes == "csv" else "none")
            found = _fit(lines, dialect, is_wanted=is_wanted, is_whole=source.is_whole)
            if (
                found.width > 1
                and found.is_wanted
                and found.share >= CONSISTENT_SHARE
                and len(found.rows) > FEWEST_ROWS
            ):
                return delimiter
    return None


def _whole_lines(head: str, *, is_whole: bool) -> list[str]:
    lines = list(io.StringIO(head, newline=""))
    return lines if is_whole or len(lines) < 2 else lines[:-1]


def _delimiter(lines: Sequence[str], *, usual: str, is_wanted: Callable[[Sequence[str]], bool], is_whole: bool) -> str:
    def fit(delimiter: str) -> _Fit:
        found = _fit(lines, Dialect(delimiter=delimiter, quotes="csv"), is_wanted=is_wanted, is_whole=is_whole)
        if found.width > 0:
            return found
        return _fit(lines, Dialect(delimiter=delimiter, quotes="padded"), is_wanted=is_wanted, is_whole=is_whole)

    first = fit(usual)
    if first.width > 1 and first.is_wanted and (first.share >= CONSISTENT_SHARE or usual == "\t"):
        return usual
    others = {other: fit(other) for other in DELIMITERS if other != usual and lines and other in lines[0]}
    certain = [
        other
        for other, found in others.items()
        if found.width > 1
        and found.is_wanted
        and found.share >= CONSISTENT_SHARE
        and (found.share > first.share or not (first.is_wanted and first.width > 1))
    ]
    return certain[0] if len(certain) == 1 else usual


def _fit(lines: Sequence[str], dialect: Dialect, *, is_wanted: Callable[[Sequence[str]], bool], is_whole: bool) -> _Fit:
    rows = [row for _, row in rows_of(lines, dialect)]
    while not is_whole and rows and isinstance(rows[-1], Record) and rows[-1].reason == "unclosed_quote":
        rows.pop()  # The quote may close after the end of the head.
    if not rows or isinstance(rows[0], Record):
        return _Fit(width=0, share=0.0, is_wanted=False, rows=[])
    width = len(rows[0])
    good = [row for row in rows if not isinstance(row, Record) and len(row) == width]
    return _Fit(width=width, share=len(good) / len(rows), is_wanted=is_wanted(rows[0]), rows=good)


def _with_spaces_or_escapes(
    dialect: Dialect, lines: Sequence[str], *, is_wanted: Callable[[Sequence[str]], bool], is_whole: bool
) -> Dialect:
    """Returns the dialect, adapted if the CSV has spaces around its delimiters or escapes quotes with a backslash."""
    plain = _fit(lines, dialect, is_wanted=is_wanted, is_whole=is_whole)
    has_spaces = ends_in_spaces = False
    if len(plain.rows) > 1:
        spaced = sum(any(cell.startswith(' "') for cell in row) for row in plain.rows)
        has_spaces = len(plain.rows[0]) > 1 and all(cell.startswith(" ") for cell in plain.rows[0][1:])
        has_spaces = has_spaces or spaced > len(plain.rows) / 2
        ends_in_spaces = has_spaces and any(cell.endswith(" ") for cell in plain.rows[0])
    if plain.share == 1 and not has_spaces:
        return dialect
    forms: list[tuple[Quotes, bool]] = [("csv", True), ("padded", True), ("backslash", False)]
    for quotes, skip_spaces in forms[ends_in_spaces:]:
        other = replace(dialect, quotes=quotes, skip_spaces=skip_spaces)
        found = _fit(lines, other, is_wanted=is_wanted, is_whole=is_whole)
        is_better = found.share > plain.share or (has_spaces and found.share == plain.share)
        if found.is_wanted and found.width > 1 and found.share >= CONSISTENT_SHARE and is_better:
            return other
    return dialect


def _tab_quotes(head: str, is_whole: bool, *, is_usual: bool) -> Quotes:
    """Returns the quoting of a tab-separated table: fields count as quoted only if the whole head is consistent.

    A program that quotes fields leaves no quote in an unquoted field and doubles (or escapes) quotes within fields.
    Positive evidence is a doubled quote, a line break or a tab within a field, or quotes in nearly every row.
    """
    quotes: Quotes
    for quotes, inside in _INSIDE_QUOTES:
        rows = _rows_with_quotes(head, inside, is_whole=is_whole)
        body = Counter(row.width for row in rows[1:] or rows)  # The header may lack a name for the row-name column.
        if not body:
            continue
        width, count = body.most_common(1)[0]
        num_quoted = sum(row.is_quoted for row in rows)
        is_telling = any(row.is_telling and row.width == width for row in rows)
        is_everywhere = num_quoted >= CONSISTENT_SHARE * len(rows)
        if count >= EVEN_SHARE * body.total() and (is_telling or is_everywhere):
            return quotes
        if not num_quoted and is_usual:
            return "csv"
    return "none"


def _rows_with_quotes(head: str, inside: str, *, is_whole: bool) -> list[_QuotedRow]:
    """Returns the rows of a quoted tab-separated table, or none if a field is inconsistent with quoting."""
    fields = re.compile(rf'(?:"({inside})"|([^\t\r\n"]*))(\t|\r\n?|\n|\Z)', re.DOTALL)
    rows: list[_QuotedRow] = []
    row = _QuotedRow()
    place = 0
    while place < len(head):
        found = fields.match(head, place)
        if found is None:
            break
        place = found.end()
        quoted = found[1]
        row = _QuotedRow(
            row.width + 1,
            row.is_quoted or quoted is not None,
            row.is_telling or (quoted is not None and _TELLING.search(quoted) is not None),
        )
        if found[3] != "\t":
            rows.append(row)
            row = _QuotedRow()
    rest = head[place:]
    is_open = not is_whole and rest.startswith('"') and not re.search(r'"[\t\r\n]', rest[1:])
    return rows if is_open or not rest else []


def what_else(source: Source) -> str:
    """Returns a clause that identifies a file often found in place of data (a web page, an LFS pointer), or ""."""
    start = source.head[:200].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return ": it is a web page, probably from a failed download"
    if start.startswith(b"version https://git-lfs"):
        return ": it is a Git LFS pointer; `git lfs pull` downloads the file itself"
    if start.startswith(b"<?xml"):
        return ": it is XML"
    return ""


def cause_of(source: Source, head: str, dialect: Dialect) -> str:
    """Returns a clause for an error message with the likely reason why a table cannot be read, or ""."""
    first = next(iter(io.StringIO(head)), "").strip()
    if what_else(source):
        return what_else(source).replace(":", ";", 1)
    if first.startswith(("{", "[{")):
        return "; its first line looks like JSON: set corpus.format=jsonl"
    own = first.count(dialect.delimiter)
    counts = {other: first.count(other) for other in DELIMITERS if other != dialect.delimiter and other in first}
    if not counts or max(counts.values()) < own:
        return ""
    likely = max(counts, key=lambda other: counts[other])
    shown = "tab" if likely == "\t" else f"'{likely}'"
    return (
        f"; its first line contains {NAMES_OF_DELIMITERS.get(dialect.delimiter, dialect.delimiter)} {own} times but "
        f"{NAMES_OF_DELIMITERS[likely]} {counts[likely]} times: set corpus.delimiter={shown}"
    )
