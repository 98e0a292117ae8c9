"""Summarizes how the files of a corpus were read: files read in the same way share an entry with a count."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from textgen.corpus.formats import FileReport
from textgen.corpus.naming import listed

MAX_WAYS = 20
"""Most entries, notes and file names kept. Further ones are only counted, so the summary stays short."""
_NAMES = {",": "','", ";": "';'", "|": "'|'", "\t": "a tab"}


@dataclass(kw_only=True)
class Readings:
    """The combined reports of many files."""

    ways: dict[str, dict[str, Any]] = field(default_factory=dict)
    """One entry per way of reading, keyed by its JSON: `read_as` (`ReadAs.to_dict`), `parts` (number of files or
    archive members) and `example`."""
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Skipped members of archives, each with the archive's URI."""
    num_more: int = 0
    """Entries, notes and names beyond those kept."""

    @classmethod
    def of(cls, parts: Iterable[Mapping[str, Any]]) -> Readings:
        """Combines results of `to_dict`."""
        total = cls()
        for part in parts:
            for key, way in part.get("ways", {}).items():
                total._add_way(key, way)
            total._add_lines(part.get("notes", ()), part.get("left_out", ()))
            total.num_more += part.get("num_more", 0)
        return total

    def add(self, uri: str, report: FileReport) -> None:
        """Adds the report of one file."""
        for _, read_as in report.read_as:
            values = read_as.to_dict()
            self._add_way(json.dumps(values, sort_keys=True), {"read_as": values, "parts": 1, "example": uri})
        self._add_lines(report.notes, [f"{name} in {uri}" for name in report.left_out])

    def _add_way(self, key: str, way: Mapping[str, Any]) -> None:
        if key in self.ways:
            self.ways[key]["parts"] += way["parts"]
        elif len(self.ways) < MAX_WAYS:
            self.ways[key] = dict(way)
        else:
            self.num_more += way["parts"]

    def _add_lines(self, notes: Iterable[str], left_out: Iterable[str]) -> None:
        for lines, kept in ((notes, self.notes), (left_out, self.left_out)):
            for line in lines:
                if len(kept) < MAX_WAYS:
                    kept.append(line)
                else:
                    self.num_more += 1

    def to_dict(self) -> dict[str, Any]:
        """Returns the summary as JSON values, for `of`."""
        return {"ways": self.ways, "notes": self.notes, "left_out": self.left_out, "num_more": self.num_more}

    def result(self) -> list[dict[str, Any]]:
        """Returns the ways of reading for a job's result, most frequent first."""
        ways = sorted(self.ways.values(), key=lambda way: -way["parts"])
        return [{**way["read_as"], "parts": way["parts"], "example": way["example"]} for way in ways]

    def warnings(self) -> list[str]:
        """Returns the warnings about columns, each with the URI of an example file."""
        return [
            f"{way['example']}: {text}" for way in self.ways.values() for text in way["read_as"].get("warnings", ())
        ]

    def sentences(self) -> list[str]:
        """Returns log lines: how the files were read, then notes and warnings."""
        lines = [
            f"{way['parts']:,} file{'s' * (way['parts'] != 1)} (such as {way['example']}) read as {in_words(way)}"
            for way in self.result()
        ]
        if self.left_out:
            lines.append(f"skipped, because they hold no data or are not selected: {listed(self.left_out)}")
        lines += self.notes
        if self.num_more:
            lines.append(f"{self.num_more:,} more lines of this kind are omitted")
        return lines + [f"warning: {warning}" for warning in self.warnings()]


def in_words(read_as: Mapping[str, Any]) -> str:
    """Describes a way of reading (`ReadAs.to_dict`): format, delimiter, encoding, and the columns with the reasons."""
    parts = [str(read_as["format"])]
    if read_as.get("packing"):
        parts.append(f"unpacked from {' and '.join(read_as['packing'])}")
    if read_as.get("delimiter"):
        parts.append(f"delimiter {_NAMES.get(read_as['delimiter'], repr(read_as['delimiter']))}")
        parts.append({"none": "no quoting"}.get(read_as["quotes"], f"{read_as['quotes']} quoting"))
    if read_as.get("encoding"):
        parts.append(f"encoding {read_as['encoding']}")
    columns, chosen_by = read_as.get("columns", {}), read_as.get("chosen_by", {})
    for role in ("text", "label", "category") if columns else ():
        name = columns.get(role)
        parts.append(f"no {role}" if name is None else f"{role} from {name!r} ({chosen_by.get(role, 'chosen')})")
    return ", ".join(parts)
