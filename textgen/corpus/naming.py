"""Infers from a file's name its format and whether it holds data."""

from __future__ import annotations

import re
from collections.abc import Iterable

FORMAT_OF_ENDING = {
    "tsv": "tsv",
    "tab": "tsv",
    "csv": "csv",
    "psv": "csv",
    "json": "jsonl",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "pq": "parquet",
    "txt": "text",
    "text": "text",
    "npy": "npy",
}
PACKED_ENDINGS = (".gz", ".gzip", ".bz2", ".zstd", ".zst", ".xz", ".lzma", ".lz4", ".tar", ".zip")
NAMES_SHOWN = 5

_TWEETS = re.compile(r"tweets?(-part\d+)?\.js")
_NOTES = re.compile(r"note-?_?tweets?(-part\d+)?\.js")
_ABOUT = re.compile(
    r"(read[-_ ]?me|licen[cs]e|copying|copyright|notice|change[-_ ]?log|authors|contributors|contributing|citation|"
    r"disclaimer|terms([-_ ]of[-_ ]use)?|code[-_ ]of[-_ ]conduct)s?([-_ .].*)?",
    re.IGNORECASE,
)
_ABOUT_ENDINGS = {"md", "markdown", "rst", "adoc"}
_DESCRIPTIONS = re.compile(r"((dataset|data)?[-_ ]?(metadata|infos?|package|schema)|manifest|croissant)\.json", re.I)
_TABLES = {"tsv", "csv", "jsonl", "parquet"}


def unpacked_name(name: str) -> str:
    """Returns a name without compression and archive suffixes: `reviews.csv` for `reviews.csv.tar.gz`."""
    lower = name.lower()
    if lower.endswith((".tgz", ".tbz2", ".tbz", ".txz")):
        return name.rpartition(".")[0]
    for ending in PACKED_ENDINGS:
        if lower.endswith(ending):
            return unpacked_name(name[: -len(ending)])
    return name


def format_of(name: str) -> str | None:
    """Returns the format that a file's name implies, ignoring compression suffixes, or None."""
    plain = unpacked_name(name)
    if holds_tweets(plain):
        return "twitter_archive"
    return FORMAT_OF_ENDING.get(plain.rpartition(".")[2].lower()) if "." in plain else None


def holds_tweets(name: str) -> bool:
    """Returns whether this is the name of a file with the tweets of a Twitter archive."""
    return _TWEETS.fullmatch(name) is not None


def holds_note_tweets(name: str) -> bool:
    """Returns whether this is the name of a file with the full texts of long tweets."""
    return _NOTES.fullmatch(name) is not None


def is_hidden(path: str) -> bool:
    """Returns whether a file is hidden or was left by a program: dot files, `__MACOSX`, Spark's `_SUCCESS`."""
    names = path.split("/")
    return "__MACOSX" in names or any(name.startswith(".") for name in names) or names[-1].startswith("_")


def is_about_data(path: str) -> bool:
    """Returns whether a file describes the data rather than holds it: a readme, a licence, metadata."""
    name = path.rpartition("/")[2]
    plain = unpacked_name(name)
    ending = plain.rpartition(".")[2].lower() if "." in plain else ""
    if ending in _ABOUT_ENDINGS or _DESCRIPTIONS.fullmatch(plain):
        return True
    return format_of(name) not in _TABLES and _ABOUT.fullmatch(plain) is not None


def listed(names: Iterable[str]) -> str:
    """Joins names for a message: the first few, then how many more there are."""
    all_names = list(names)
    shown = ", ".join(all_names[:NAMES_SHOWN])
    more = len(all_names) - NAMES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown
