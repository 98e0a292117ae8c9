"""Which text is read, and how it becomes documents, ids and windows."""

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
    """Which text is read from the sources, and how it becomes documents in splits."""

    origin: str = ""
    """Where the texts come from and whose they are, in words, for the manifest."""
    single_author: bool = False
    """The texts are one person's: a training on them asks for `--acknowledge`, once for a run."""
    format: Literal["auto", "tsv", "csv", "jsonl", "parquet", "text", "npy", "twitter_archive"] = "auto"
    """Format of the source files; `auto` goes by the file's name."""
    members: tuple[str, ...] = ()
    """Members of zip and tar archives that are read, by path or pattern (`reviews/*.csv`); empty reads all that hold
    data, which readmes, licences and hidden files do not."""
    encoding: str = "utf-8"
    """Character encoding of the source files, a name that Python knows (`utf-8`, `cp1252`). Where it is the default, a
    byte order mark makes it UTF-16."""
    delimiter: str | None = None
    """Character between the fields of TSV and CSV files, `tab` for a tab; None takes the usual one, or the one of
    `,` `;` tab `|` that the first lines make certain."""
    quoting: Literal["auto", "csv", "none"] = "auto"
    """`csv`: fields may be quoted, with line breaks within; `none`: a quote is part of the text; `auto`: CSV is quoted,
    TSV where its first lines make it certain."""
    encoding_errors: Literal["fail", "reject"] = "fail"
    """A row whose bytes are not of the encoding ends the job, or goes to `rejected/`."""
    text_column: str | None = None
    """Column that holds the text; None recognises the schema. A position (from 0) says that a TSV or CSV has no header
    line, and then `label_column` and `category_column` are positions too."""
    label_column: str | None = None
    """Column that holds the label (stars, sentiment); None recognises the schema."""
    category_column: str | None = None
    """Column that holds the category (of a product, say); None recognises the schema."""
    keep_categories: tuple[str, ...] = ()
    """Drops the records of all other categories, and those without one; empty keeps all."""
    document_unit: Literal["line", "paragraph", "file"] = "line"
    """What one document is in a plain text file."""
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
    """Cleaning rules, applied in this order; `book_edges` comes first wherever it stands: it needs whole files."""
    drop_containing: tuple[str, ...] = ()
    """The rule `drop_containing` drops documents that contain one of these strings."""
    min_document_chars: int = 1
    """The rule `length` drops documents shorter than this, in characters."""
    max_document_chars: int | None = None
    """The rule `length` drops documents longer than this, in characters; None is no bound."""
    deduplicate: bool = True
    """Keeps one of the documents whose cleaned texts are equal: the first by file name and row."""
    document_order: Literal["hash", "file"] = "hash"
    """Order of the documents: by a seeded hash of their text, or as they stand in the files."""
    val_share: float = 0.01
    """Share of the documents in `val`, drawn by hash."""
    test_share: float = 0.01
    """Share of the documents in `test`, drawn by hash; unused with `test_categories`."""
    test_categories: tuple[str, ...] = ()
    """All documents of these categories are `test`, and no others: a split by time where the category is a year. A text
    that stands in other categories too is not `test`: of duplicates the others' stays. Empty draws `test` by hash."""
    condition_on: tuple[Literal["label", "category"], ...] = ()
    """Columns whose value is told before each document by a control id, so that the model can be asked for it."""
    condition_none_share: float = 0.1
    """Share of the documents of `train` whose value is not told, so that the model also learns to write unasked."""
    min_split_documents: int = 100
    """Smallest number of documents in `val` and in `test`, where the corpus allows; ignored where the share is 0."""
    max_rejected_share: float = 0.05
    """Share of the records that may be rejected before the job fails."""
    seed: int = 0
    """Seed of the hash that orders the documents and assigns the splits."""

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
            f"corpus.delimiter is {self.delimiter!r}; use one character that is no quote and no line end, or tab",
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
            "corpus.test_categories with corpus.deduplicate=false lets a text stand in train and in test; "
            "set corpus.deduplicate=true",
        )
        check(
            len(set(self.condition_on)) == len(self.condition_on),
            f"corpus.condition_on is {list(self.condition_on)}; name each column once",
        )
        check(
            0 <= self.condition_none_share < 1,
            f"corpus.condition_none_share is {self.condition_none_share}; it must lie in [0, 1)",
        )
        check(self.min_split_documents >= 0, f"corpus.min_split_documents is {self.min_split_documents}; use 0 or more")

    @property
    def delimiter_character(self) -> str | None:
        """The character that `delimiter` stands for."""
        return "\t" if self.delimiter in ("tab", "\\t") else self.delimiter


@dataclass(frozen=True, kw_only=True)
class WindowsSpec:
    """How documents become ids, and ids windows."""

    unit: Literal["characters", "bytes", "words"] = "characters"
    """What one id stands for: a Unicode character, a byte of UTF-8, or a word, which only a classifier reads."""
    min_count: int = 1
    """Characters (or words) rarer than this in `train` become UNKNOWN."""
    max_vocab_size: int | None = None
    """Ids of a vocabulary of words, UNKNOWN and END among them: the most frequent words have one; None is no bound."""
    separator: str | None = None
    """None joins documents by the id END; a text joins them by that text, and then no ids are reserved: the symbols of
    all splits have ids, for want of UNKNOWN."""
    context_length: int = 64
    """Inputs of a window, in ids."""
    stride: int = 64
    """Ids between the starts of two neighbouring windows."""
    shard_bytes: int = 64 * 2**20
    """Size at which a shard is full, in bytes of ids before compression."""

    def __post_init__(self) -> None:
        for name in ("min_count", "context_length", "stride", "shard_bytes"):
            check(getattr(self, name) >= 1, f"windows.{name} is {getattr(self, name)}; use 1 or more")
        check(
            self.separator != "",
            "windows.separator is the empty text, after which no document can be read; use a text such as ' ', or none",
        )
        check(
            self.separator is None or self.min_count == 1,
            f"windows.min_count is {self.min_count} but windows.separator leaves no id for UNKNOWN; use 1",
        )
        check(
            self.unit != "words" or self.separator is None,
            f"windows.separator is {self.separator!r} with windows.unit words, which END keeps apart; use none",
        )
        check(
            self.max_vocab_size is None or (self.unit == "words" and self.max_vocab_size >= 3),
            f"windows.max_vocab_size is {self.max_vocab_size} with windows.unit {self.unit}; "
            "it bounds a vocabulary of words, to 3 or more: use none, or windows.unit=words",
        )
