"""Helpers for the reader tests: writing files and reading their records."""

from __future__ import annotations

import random
from pathlib import Path

from textgen.corpus.formats import FileReport, ReadAs, Record
from textgen.corpus.records import read_records
from textgen.corpus.sources import SourceFile
from textgen.spec import CorpusSpec

WORDS = ("rain", "tea", "film", "quiet", "song", "on", "the", "roof", "and", "never", "again", "slow", "green", "door")


def read(path: Path, content: bytes, **settings: object) -> list[Record]:
    """Writes a file and returns its records; `settings` are fields of `CorpusSpec`."""
    return read_with_report(path, content, **settings)[0]


def read_with_report(path: Path, content: bytes, **settings: object) -> tuple[list[Record], FileReport]:
    """Writes a file and returns its records and the report of how it was read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    report = FileReport()
    file = SourceFile(index=0, uri=str(path), size_bytes=len(content), version="")
    return list(read_records(file, CorpusSpec(**settings), report=report)), report  # type: ignore[arg-type]


def how(report: FileReport) -> ReadAs:
    """Returns how a file with a single part was read."""
    ((_, read_as),) = report.read_as
    return read_as


def sentences(number: int, *, seed: int = 3) -> list[str]:
    """Returns distinct texts of several words."""
    drawn = random.Random(seed)
    return [f"{' '.join(drawn.choices(WORDS, k=9))} {place}" for place in range(number)]


def pairs(records: list[Record]) -> list[tuple[str | None, str | None]]:
    """Returns text and label of the records that could be read."""
    return [(record.text, record.label) for record in records if record.reason is None]
