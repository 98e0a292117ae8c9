"""Cleaning rules: each a pure function over an Arrow array of strings.

A text rule returns the changed texts; a filter returns which texts stay. The spec names them in the order in which
they are applied.
"""

from __future__ import annotations

import ast
import html
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from textgen.spec import CorpusSpec

CHARACTER_RULES = ("control", "nfc", "lower")
"""Rules that change single characters: a prompt passes them too, so that it reads like the corpus."""

_CONTROL = r"[\x00-\x08\x0e-\x1f\x7f\x{80}-\x{84}\x{86}-\x{9f}\x{feff}]"
_LINE_BREAK = r"\r\n|[\r\x0b\x0c\x{85}\x{2028}\x{2029}]"
_SPACES = r"[\t\p{Zs}]{2,}|[\t\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]"
"""Runs of spaces, and single ones that are not U+0020: what is right already is not written again."""
_LITERAL = re.compile(r"""b(['"]).*\1""", re.DOTALL)


def bytes_literal(texts: pa.StringArray) -> pa.StringArray:
    r"""Decodes texts that are a whole Python bytes literal of UTF-8, such as `b'caf\xc3\xa9'`; others stay."""
    return _map_where(pc.match_substring_regex(texts, r"^b['\"]"), texts, _read_literal)


def unescape_html(texts: pa.StringArray) -> pa.StringArray:
    """Turns HTML entities into their characters, once, and `<br />` into a line break."""
    unescaped = _map_where(pc.match_substring(texts, "&"), texts, html.unescape)
    return pc.replace_substring_regex(unescaped, r"(?i)</?br\s*/?>", "\n")


def control(texts: pa.StringArray) -> pa.StringArray:
    """Writes every line break as LF and takes out control characters but tab and LF, and the byte-order mark."""
    return pc.replace_substring_regex(pc.replace_substring_regex(texts, _LINE_BREAK, "\n"), _CONTROL, "")


def nfc(texts: pa.StringArray) -> pa.StringArray:
    """Composes characters: Unicode's normal form C."""
    return pc.utf8_normalize(texts, form="NFC")


def lower(texts: pa.StringArray) -> pa.StringArray:
    """Writes all in lower case."""
    return pc.utf8_lower(texts)


def whitespace(texts: pa.StringArray) -> pa.StringArray:
    """Leaves one space between words, at most one empty line between lines, and nothing around the text."""
    spaced = pc.replace_substring_regex(texts, _SPACES, " ")
    lined = pc.replace_substring_regex(spaced, r" ?\n ?", "\n")
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(lined, r"\n{3,}", "\n\n"))


def without(texts: pa.StringArray, spec: CorpusSpec) -> pa.BooleanArray:
    """Keeps texts that contain none of `drop_containing`."""
    keeps = pa.array([True] * len(texts), pa.bool_())
    for part in spec.drop_containing:
        keeps = pc.and_(keeps, pc.invert(pc.match_substring(texts, part)))
    return keeps


def within_length(texts: pa.StringArray, spec: CorpusSpec) -> pa.BooleanArray:
    """Keeps texts within the spec's bounds, and empty ones, which are rejected as such."""
    lengths = pc.utf8_length(texts)
    keeps = pc.or_(pc.greater_equal(lengths, spec.min_document_chars), pc.equal(lengths, 0))
    if spec.max_document_chars is not None:
        keeps = pc.and_(keeps, pc.less_equal(lengths, spec.max_document_chars))
    return keeps


TEXT_RULES: dict[str, Callable[[pa.StringArray], pa.StringArray]] = {
    "bytes_literal": bytes_literal,
    "html": unescape_html,
    "control": control,
    "nfc": nfc,
    "lower": lower,
    "whitespace": whitespace,
}
FILTERS: dict[str, Callable[[pa.StringArray, CorpusSpec], pa.BooleanArray]] = {
    "drop_containing": without,
    "length": within_length,
}


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """Records after the rules."""

    kept: pa.Table
    """Records with text, in their order, all columns."""
    empty: pa.Table
    """Records whose text is empty after the rules."""
    dropped: Counter[str]
    """Records that each filter dropped, by the rule's name."""


def clean(records: pa.Table, spec: CorpusSpec) -> Cleaned:
    """Applies the spec's rules to the column `text`."""
    dropped: Counter[str] = Counter()
    for rule in spec.rules:
        texts = _column(records, "text")
        if rule in FILTERS:
            kept = records.filter(FILTERS[rule](texts, spec))
            dropped[rule] += records.num_rows - kept.num_rows
            records = kept
        else:
            place = records.column_names.index("text")
            records = records.set_column(place, "text", TEXT_RULES[rule](texts))
    is_empty = pc.equal(_column(records, "text"), "")
    return Cleaned(kept=records.filter(pc.invert(is_empty)), empty=records.filter(is_empty), dropped=+dropped)


def normalize_prompt(text: str, spec: CorpusSpec) -> str:
    """Returns a prompt as the corpus would have it: the spec's rules on single characters, in the spec's order."""
    texts = pa.array([text], pa.string())
    for rule in spec.rules:
        if rule in CHARACTER_RULES:
            texts = TEXT_RULES[rule](texts)
    return str(texts[0].as_py())


def _column(table: pa.Table, name: str) -> pa.StringArray:
    column = table[name].combine_chunks()
    return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)


def _map_where(mask: pa.BooleanArray, texts: pa.StringArray, function: Callable[[str], str]) -> pa.StringArray:
    """Applies a Python function to the texts where the mask holds: the few that need it."""
    if not pc.any(mask).as_py():
        return texts
    changed = pa.array([function(text) for text in texts.filter(mask).to_pylist()], pa.string())
    return pc.replace_with_mask(texts, mask, changed)


def _read_literal(text: str) -> str:
    if not _LITERAL.fullmatch(text):
        return text
    try:
        value = ast.literal_eval(text)
        return value.decode() if isinstance(value, bytes) else text
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return text
