"""Settings for reading text and turning it into documents, ids and windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textgen.errors import UserError
from textgen.settings import check, nearest

RULE_NAMES = (
    "book_edges",
    "bytes_literal",
    "html",
    "control",
    "nfc",
    "lower",
    "words",
    "drop_containing",
    "length",
    "whitespace",
    "mark_numbers",
    "mark_all_capitals",
    "mark_capitals",
    "mark_repeats",
)


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """How text is read from the sources, cleaned and divided into documents and splits."""

    origin: str = ""
    """Description of where the texts come from and who owns them, stored in the manifest."""
    single_author: bool = False
    """Whether all texts are by one person. Training on them requires `--acknowledge` once per run."""
    format: Literal["auto", "tsv", "csv", "jsonl", "parquet", "text", "npy", "twitter_archive"] = "auto"
    """Format of the source files; `auto` determines it from the file name."""
    members: tuple[str, ...] = ()
    """Members to read from zip and tar archives, as paths or patterns (`reviews/*.csv`). Empty reads all members that
    hold data, which excludes readmes, licences and hidden files."""
    encoding: str = "utf-8"
    """Character encoding of the source files, by its Python name (`utf-8`, `cp1252`). With the default, files that
    start with a UTF-16 or UTF-32 byte order mark are read in that encoding."""
    delimiter: str | None = None
    """Character that separates the fields of TSV and CSV files; `tab` means a tab. None uses the standard delimiter of
    the format, unless the first lines clearly use another one of `,` `;` `|` and tab."""
    quoting: Literal["auto", "csv", "none"] = "auto"
    """Quoting in TSV and CSV files. `csv`: fields may be quoted and contain line breaks; `none`: quotes are part of the
    text; `auto`: `csv` for CSV files, and for TSV files if the first lines are clearly quoted."""
    encoding_errors: Literal["fail", "reject"] = "fail"
    """What happens to a row with bytes that are invalid in the encoding: `fail` ends the job with an error, `reject`
    writes the row to `rejected/`."""
    text_column: str | None = None
    """Column with the text; None selects a column with a known name. A position (from 0) means that a TSV or CSV file
    has no header line; then `label_column` and `category_column` are positions too."""
    label_column: str | None = None
    """Column with the label (stars, sentiment); None selects a column with a known name."""
    category_column: str | None = None
    """Column with the category (such as a product category); None selects a column with a known name."""
    keep_categories: tuple[str, ...] = ()
    """Categories to keep. Records in other categories or without one are dropped. Empty keeps all records."""
    document_unit: Literal["line", "paragraph", "file"] = "line"
    """Unit that forms one document in plain text files."""
    rules: tuple[str, ...] = (
        "bytes_literal",
        "html",
        "control",
        "nfc",
        "lower",
        "drop_containing",
        "whitespace",
        "length",
    )
    """Cleaning rules, applied in this order. `book_edges` always runs first, because it needs whole files."""
    drop_containing: tuple[str, ...] = ()
    """Strings for the rule `drop_containing`, which drops documents that contain any of them."""
    min_document_chars: int = 1
    """Length, in characters, below which the rule `length` drops documents."""
    max_document_chars: int | None = None
    """Length, in characters, above which the rule `length` drops documents; None means no limit."""
    deduplicate: bool = True
    """Whether to keep only one of several documents with the same cleaned text: the first by file name and row."""
    document_order: Literal["hash", "file"] = "hash"
    """Order of the documents: `hash` is by a seeded hash of the text, `file` is as in the source files."""
    val_share: float = 0.01
    """Share of the documents assigned to `val` by hash."""
    test_share: float = 0.01
    """Share of the documents assigned to `test` by hash; unused with `test_categories`."""
    test_categories: tuple[str, ...] = ()
    """Categories whose documents form `test`, for example years for a split by time. A text that also occurs in another
    category is not in `test`; the copy in the other category is kept. Empty assigns `test` by hash."""
    condition_on: tuple[Literal["label", "category"], ...] = ()
    """Columns to condition on. Their values precede each document as control ids, so that generation can be conditioned
    on a value."""
    condition_none_share: float = 0.1
    """Share of the documents in `train` that are not conditioned, so that the model also learns unconditional
    generation."""
    min_split_documents: int = 100
    """Smallest number of documents in `val` and in `test`, if the corpus is large enough; ignored for a share of 0."""
    max_rejected_share: float = 0.05
    """Largest share of rejected records; with more, the job fails."""
    seed: int = 0
    """Seed of the hash that orders documents and assigns splits."""

    def __post_init__(self) -> None:
        for rule in self.rules:
            if rule not in RULE_NAMES:
                raise UserError(f"corpus.rules has {rule!r}; {nearest(rule, RULE_NAMES)}")
        try:
            "".encode(self.encoding)
        except LookupError:
            raise UserError(
                f"corpus.encoding is {self.encoding!r}, which Python does not know; use a name such as utf-8 or cp1252"
            ) from None
        check(
            self.delimiter_character is None
            or (len(self.delimiter_character) == 1 and self.delimiter_character not in '"\r\n'),
            f"corpus.delimiter is {self.delimiter!r}; use one character other than a quote or line break, or tab",
        )
        check(
            min(self.val_share, self.test_share) >= 0 and self.val_share + self.test_share < 1,
            f"corpus.val_share + corpus.test_share is {self.val_share + self.test_share}; it must lie in [0, 1)",
        )
        check(
            0 <= self.max_rejected_share <= 1,
            f"corpus.max_rejected_share is {self.max_rejected_share}; it must lie in [0, 1]",
        )
        check(self.min_document_chars >= 0, f"corpus.min_document_chars is {self.min_document_chars}; use 0 or more")
        check(
            self.max_document_chars is None or self.max_document_chars >= max(1, self.min_document_chars),
            f"corpus.max_document_chars is {self.max_document_chars}; "
            f"use {max(1, self.min_document_chars)} (corpus.min_document_chars) or more, or none",
        )
        check(
            not self.test_categories or self.deduplicate,
            "corpus.test_categories with corpus.deduplicate=false allows the same text in train and in test; "
            "set corpus.deduplicate=true",
        )
        check(
            len(set(self.condition_on)) == len(self.condition_on),
            f"corpus.condition_on is {list(self.condition_on)}; give each column only once",
        )
        check(
            0 <= self.condition_none_share < 1,
            f"corpus.condition_none_share is {self.condition_none_share}; it must lie in [0, 1)",
        )
        check(self.min_split_documents >= 0, f"corpus.min_split_documents is {self.min_split_documents}; use 0 or more")

    @property
    def delimiter_character(self) -> str | None:
        """The character that `delimiter` denotes."""
        return "\t" if self.delimiter in ("tab", "\\t") else self.delimiter


@dataclass(frozen=True, kw_only=True)
class WindowsSpec:
    """How documents are encoded as ids and ids are divided into windows."""

    unit: Literal["characters", "bytes", "words"] = "characters"
    """What one id represents: a Unicode character, a UTF-8 byte, or a word (only for bag-of-words classifiers)."""
    min_count: int = 1
    """Smallest number of occurrences in `train` for which a character (or word) gets an id; rarer ones become
    UNKNOWN."""
    max_vocab_size: int | None = None
    """Largest size of a vocabulary of words, including UNKNOWN and END; the most frequent words are kept. None means no
    limit."""
    separator: str | None = None
    """Text between documents; None separates them by the id END. With a text, no ids are reserved: there is no UNKNOWN,
    so the symbols of all splits get ids."""
    context_length: int = 64
    """Number of inputs in a window, in ids."""
    stride: int = 64
    """Distance between the starts of consecutive windows, in ids."""
    shard_bytes: int = 64 * 2**20
    """Target size of a shard, in bytes of ids before compression."""

    def __post_init__(self) -> None:
        for name in ("min_count", "context_length", "stride", "shard_bytes"):
            check(getattr(self, name) >= 1, f"windows.{name} is {getattr(self, name)}; use 1 or more")
        check(
            self.separator != "",
            "windows.separator is empty, so a document would have no preceding id; use a text such as ' ', or none",
        )
        check(
            self.separator is None or self.min_count == 1,
            f"windows.min_count is {self.min_count}, but with windows.separator there is no id for UNKNOWN; use 1",
        )
        check(
            self.unit != "words" or self.separator is None,
            f"windows.separator is {self.separator!r} with windows.unit words, which requires END; use none",
        )
        check(
            self.max_vocab_size is None or (self.unit == "words" and self.max_vocab_size >= 3),
            f"windows.max_vocab_size is {self.max_vocab_size} with windows.unit {self.unit}; "
            "it applies only to words and must be 3 or more: use none, or set windows.unit=words",
        )
