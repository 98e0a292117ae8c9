"""Cleaning rules, each a pure function over an Arrow array of strings.

A text rule returns the changed texts; a filter returns a mask of the texts to keep. The spec lists rules in the order
in which they are applied. File rules run earlier, while the reader still has the whole file.
"""

from __future__ import annotations

import ast
import functools
import html
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from textgen.corpus.marks import MARK_RULES, mark_rules, unmark
from textgen.spec import CorpusSpec

CHARACTER_RULES = ("control", "nfc", "lower", *MARK_RULES)
"""Rules that change single characters. They are also applied to prompts, so that prompts match the corpus."""
FILE_RULES = ("book_edges",)
"""Rules that apply to a plain text file before it is split into documents (`textgen.corpus.plain_text`)."""

_CONTROL = r"[\x00-\x08\x0e-\x1f\x7f\x{80}-\x{84}\x{86}-\x{9f}\x{feff}]"
_LINE_BREAK = r"\r\n|[\r\x0b\x0c\x{85}\x{2028}\x{2029}]"
_SPACES = r"[\t\p{Zs}]{2,}|[\t\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]"
"""Runs of spaces, and single spaces other than U+0020. Texts that need no change are not rewritten."""
_LINE_ENDS = r" \n|\n |\n{3}|^[\s\x0b\x1c-\x1f\x{85}\p{Z}]|[\s\x0b\x1c-\x1f\x{85}\p{Z}]$"
"""Spaces around line breaks, two or more empty lines, and white space around a text."""
_NO_WORD = r"[^\p{L}\p{M}\p{N}_]+"
_LITERAL = re.compile(r"""b(['"]).*\1""", re.DOTALL)


def bytes_literal(texts: pa.StringArray) -> pa.StringArray:
    r"""Decodes texts that are a complete Python bytes literal of UTF-8, such as `b'caf\xc3\xa9'`."""
    return _where(pc.match_substring_regex(texts, r"^b['\"]"), texts, _each(_read_literal))


def unescape_html(texts: pa.StringArray) -> pa.StringArray:
    """Replaces HTML entities by their characters, once, and `<br />` by a line break."""
    unescaped = _where(pc.match_substring(texts, "&"), texts, _each(html.unescape))
    return pc.replace_substring_regex(unescaped, r"(?i)</?br\s*/?>", "\n")


def control(texts: pa.StringArray) -> pa.StringArray:
    """Normalizes line breaks to LF and removes byte order marks and control characters other than tab and LF."""

    def rule(texts: pa.StringArray) -> pa.StringArray:
        return pc.replace_substring_regex(pc.replace_substring_regex(texts, _LINE_BREAK, "\n"), _CONTROL, "")

    return _where(pc.match_substring_regex(texts, f"{_LINE_BREAK}|{_CONTROL}"), texts, rule)


def nfc(texts: pa.StringArray) -> pa.StringArray:
    """Normalizes to Unicode normal form C (composed characters)."""
    return pc.utf8_normalize(texts, form="NFC")


def lower(texts: pa.StringArray) -> pa.StringArray:
    """Converts to lower case."""
    return pc.utf8_lower(texts)


def words(texts: pa.StringArray) -> pa.StringArray:
    r"""Keeps only words (Unicode `\w+`) that are not English stop words, separated by single spaces."""
    # Two spaces between words give every word its own pair, so that adjacent stop words both match.
    spread = pc.replace_substring_regex(texts, _NO_WORD, "  ")
    left = pc.replace_substring_regex(pc.binary_join_element_wise(" ", spread, " ", ""), _stop_words(), "")
    return pc.utf8_trim(pc.replace_substring_regex(left, " +", " "), " ")


def whitespace(texts: pa.StringArray) -> pa.StringArray:
    """Reduces white space to single spaces and at most one empty line, and strips the text."""

    def rule(texts: pa.StringArray) -> pa.StringArray:
        spaced = pc.replace_substring_regex(texts, _SPACES, " ")
        lined = pc.replace_substring_regex(spaced, r" ?\n ?", "\n")
        return pc.utf8_trim_whitespace(pc.replace_substring_regex(lined, r"\n{3,}", "\n\n"))

    return _where(pc.match_substring_regex(texts, f"{_SPACES}|{_LINE_ENDS}"), texts, rule)


def without(texts: pa.StringArray, spec: CorpusSpec) -> pa.BooleanArray:
    """Keeps texts that contain none of the strings in `drop_containing`."""
    keeps = pa.array([True] * len(texts), pa.bool_())
    for part in spec.drop_containing:
        keeps = pc.and_(keeps, pc.invert(pc.match_substring(texts, part)))
    return keeps


def within_length(texts: pa.StringArray, spec: CorpusSpec) -> pa.BooleanArray:
    """Keeps texts within the spec's length bounds, and empty texts, which `clean` reports separately."""
    lengths = pc.utf8_length(texts)
    keeps = pc.or_(pc.greater_equal(lengths, spec.min_document_chars), pc.equal(lengths, 0))
    if spec.max_document_chars is not None:
        keeps = pc.and_(keeps, pc.less_equal(lengths, spec.max_document_chars))
    return keeps


def _marked(texts: pa.StringArray, *, rule: str) -> pa.StringArray:
    return _each(MARK_RULES[rule])(texts)


TEXT_RULES: dict[str, Callable[[pa.StringArray], pa.StringArray]] = {
    "bytes_literal": bytes_literal,
    "html": unescape_html,
    "control": control,
    "nfc": nfc,
    "lower": lower,
    "words": words,
    "whitespace": whitespace,
    **{rule: functools.partial(_marked, rule=rule) for rule in MARK_RULES},
}
FILTERS: dict[str, Callable[[pa.StringArray, CorpusSpec], pa.BooleanArray]] = {
    "drop_containing": without,
    "length": within_length,
}


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """The result of `clean`."""

    kept: pa.Table
    """Records with text, in input order, with all columns."""
    empty: pa.Table
    """Records whose text is empty after the rules."""
    dropped: Counter[str]
    """Number of records that each filter dropped, by rule name; `keep_categories` is counted as a rule."""


def clean(records: pa.Table, spec: CorpusSpec) -> Cleaned:
    """Drops records outside `keep_categories` and applies the spec's rules to the column `text`."""
    dropped: Counter[str] = Counter()
    if spec.keep_categories:
        kept = records.filter(pc.is_in(_column(records, "category"), pa.array(spec.keep_categories, pa.string())))
        dropped["keep_categories"] = records.num_rows - kept.num_rows
        records = kept
    for rule in spec.rules:
        if rule in FILE_RULES:
            continue
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


def clean_text(text: str, spec: CorpusSpec) -> str:
    """Returns a complete text as ingest would clean it: with the spec's text rules in order, without filters."""
    texts = pa.array([text], pa.string())
    for rule in spec.rules:
        if rule in TEXT_RULES:
            texts = TEXT_RULES[rule](texts)
    return str(texts[0].as_py())


def unmarked(texts: pa.ChunkedArray, spec: CorpusSpec) -> pa.ChunkedArray:
    """Returns cleaned texts with the marks of the spec's rules removed."""
    rules = mark_rules(spec.rules)
    if not rules:
        return texts
    return pa.chunked_array([[unmark(text, rules) for text in texts.to_pylist()]], pa.string())


def normalize_prompt(text: str, spec: CorpusSpec) -> str:
    """Returns a prompt as ingest would clean it: with the spec's character rules in order."""
    texts = pa.array([text], pa.string())
    for rule in spec.rules:
        if rule in CHARACTER_RULES:
            texts = TEXT_RULES[rule](texts)
    return str(texts[0].as_py())


def _column(table: pa.Table, name: str) -> pa.StringArray:
    column = table[name].combine_chunks()
    return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)


def _where(
    mask: pa.BooleanArray, texts: pa.StringArray, rule: Callable[[pa.StringArray], pa.StringArray]
) -> pa.StringArray:
    """Applies a rule only to the texts that the mask selects."""
    if not pc.any(mask).as_py():
        return texts
    return pc.replace_with_mask(texts, mask, rule(texts.filter(mask)))


def _each(function: Callable[[str], str]) -> Callable[[pa.StringArray], pa.StringArray]:
    """Lifts a function on one text to a rule on an array of texts."""
    return lambda texts: pa.array([function(text) for text in texts.to_pylist()], pa.string())


@functools.cache
def _stop_words() -> str:
    """Returns a pattern of one stop word between two spaces. Contractions are left out: no token has an apostrophe."""
    import stopwords  # Reads its word lists on import.

    found = sorted(word for word in stopwords.get_stopwords("english") if word.isalpha())
    return f"(?i) (?:{'|'.join(found)}) "


def _read_literal(text: str) -> str:
    if not _LITERAL.fullmatch(text):
        return text
    try:
        value = ast.literal_eval(text)
        return value.decode() if isinstance(value, bytes) else text
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return text
