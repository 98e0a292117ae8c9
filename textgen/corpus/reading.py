"""How the files of a corpus were read, summed up: equal ways together, with a count and an example."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from textgen.corpus.formats import FileReport
from textgen.corpus.naming import listed

MAX_WAYS = 20
"""Ways of reading, notes and names that are kept; the rest are counted, so that thousands of files stay a few lines."""
_NAMES = {",": "','", ";": "';'", "|": "'|'", "\t": "a tab"}


@dataclass(kw_only=True)
class Readings:
    """What the reports of many files add up to."""

    ways: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the way as JSON: `read_as` (`ReadAs.to_dict`), `parts` (files, or members of archives) and `example`."""
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Members of archives that hold no data, with the archive's name."""
    num_more: int = 0
    """Ways, notes and names beyond those that are kept."""

    @classmethod
    def of(cls, parts: Iterable[Mapping[str, Any]]) -> Readings:
        """Adds up what `to_dict` gave."""
        total = cls()
        for part in parts:
            for key, way in part.get("ways", {}).items():
                total._add_way(key, way)
            total._add_lines(part.get("notes", ()), part.get("left_out", ()))
            total.num_more += part.get("num_more", 0)
        return total

    def add(self, uri: str, report: FileReport) -> None:
        """Adds the report of a file that was read."""
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
        """Returns what `of` adds up: JSON-ready."""
        return {"ways": self.ways, "notes": self.notes, "left_out": self.left_out, "num_more": self.num_more}

    def result(self) -> list[dict[str, Any]]:
        """Returns each way for a job's result: the most frequent first."""
        ways = sorted(self.ways.values(), key=lambda way: -way["parts"])
        return [{**way["read_as"], "parts": way["parts"], "example": way["example"]} for way in ways]

    def warnings(self) -> list[str]:
        """Returns doubts about the columns, with a file that raises each."""
        return [
            f"{way['example']}: {text}" for way in self.ways.values() for text in way["read_as"].get("warnings", ())
        ]

    def sentences(self) -> list[str]:
        """Returns lines for a log: how the files were read, and what a user should know."""
        lines = [
            f"{way['parts']:,} file{'s' * (way['parts'] != 1)} (such as {way['example']}) read as {in_words(way)}"
            for way in self.result()
        ]
        if self.left_out:
            lines.append(f"left out, as they hold no data or are not chosen: {listed(self.left_out)}")
        lines += self.notes
        if self.num_more:
            lines.append(f"{self.num_more:,} more such lines are left away here")
        return lines + [f"warning: {warning}" for warning in self.warnings()]


def in_words(read_as: Mapping[str, Any]) -> str:
    """Returns a way of reading (`ReadAs.to_dict`) in words: format, delimiter, encoding, and the columns and why."""
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
