"""`manifest.json` describes the output of an ingest. It is written last, so its existence marks a complete ingest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from textgen import storage
from textgen.corpus.codec import TextCodec
from textgen.corpus.marks import mark_rules
from textgen.errors import UserError
from textgen.windows.vocabulary import Vocabulary
from textgen.windows.word_vocabulary import vocabulary_from_dict

SPLITS = ("train", "val", "test")
MANIFEST_NAME = "manifest.json"
FORMAT_VERSION = 1
UNHASHED_WINDOWS_FIELDS = ("context_length", "stride")
"""Settings that may change without a new ingest, because windows are computed when they are read."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One Parquet file of ids."""

    name: str
    """Path relative to the manifest's folder."""
    num_ids: int
    num_documents: int
    num_bytes: int
    """Size of the file."""
    sha256: str
    """Hash of only the ids, in the manifest's id type, little-endian, so it does not depend on the Parquet version."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The shards of one split, in the order of its ids."""

    shards: tuple[Shard, ...]

    @property
    def num_ids(self) -> int:
        """Number of ids in the split, including END (or separators) and controls."""
        return sum(shard.num_ids for shard in self.shards)

    @property
    def num_documents(self) -> int:
        """Number of documents in the split."""
        return sum(shard.num_documents for shard in self.shards)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Counts of all records: records = documents + duplicates + dropped + rejected."""

    records: int
    documents: int
    duplicates: int
    dropped_by_rule: Mapping[str, int]
    rejected_by_reason: Mapping[str, int]
    characters: int
    """Characters (or bytes, or words) in all splits, including separators but not END or controls."""
    distinct_characters: int
    """Distinct characters (or bytes, or words) in all splits."""

    @property
    def dropped(self) -> int:
        """Number of records dropped by cleaning rules."""
        return sum(self.dropped_by_rule.values())

    @property
    def rejected(self) -> int:
        """Number of records that could not be read or were empty."""
        return sum(self.rejected_by_reason.values())

    def check(self) -> None:
        """Raises a `RuntimeError` if records were lost."""
        total = self.documents + self.duplicates + self.dropped + self.rejected
        if self.records != total:
            raise RuntimeError(
                f"{self.records} records went in but {self.documents} documents + {self.duplicates} duplicates + "
                f"{self.dropped} dropped + {self.rejected} rejected = {total} came out; this is a bug in textgen"
            )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The description of the shards under one URI."""

    uri: str
    """Folder or prefix of `manifest.json` and the shards."""
    corpus: Mapping[str, Any]
    """Section `corpus` of the spec."""
    windows: Mapping[str, Any]
    """Section `windows` of the spec."""
    sources: tuple[Mapping[str, Any], ...]
    """Source files (`uri`, `size_bytes`, ...), ordered by number."""
    origin: str
    """Description of the texts' origin; empty if unknown."""
    vocabulary: Vocabulary
    counts: Counts
    splits: Mapping[str, Split]
    preset: str | None = None
    """Name of the preset used by the ingest; None in manifests of earlier versions."""
    reading: Mapping[str, Any] = field(default_factory=dict)
    """How the sources were read (`corpus.reading.Readings`); empty in manifests of earlier versions."""

    def split(self, name: str) -> Split:
        """Returns a split by name."""
        if name not in self.splits:
            raise UserError(f"there is no split {name!r}; the splits are {', '.join(SPLITS)}")
        return self.splits[name]

    @property
    def mark_rules(self) -> tuple[str, ...]:
        """Cleaning rules whose marks the texts contain; `corpus.marks.unmark` removes them."""
        return mark_rules(self.corpus.get("rules", ()))

    @property
    def codec(self) -> TextCodec:
        """Converts between documents as they stand in the shards and as people wrote them."""
        return TextCodec.of_marks(self.mark_rules)

    @property
    def hash(self) -> str:
        """sha256 over everything that determines the ids and their meaning, but not URIs, times or window lengths."""
        content = {
            "corpus": {k: v for k, v in self.corpus.items() if k != "origin"},
            "windows": {k: v for k, v in self.windows.items() if k not in UNHASHED_WINDOWS_FIELDS},
            "vocabulary": self.vocabulary.to_dict(),
            "counts": dataclasses.asdict(self.counts),
            "ids": {
                name: [(shard.sha256, shard.num_ids, shard.num_documents) for shard in split.shards]
                for name, split in self.splits.items()
            },
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def save(self) -> None:
        """Writes `manifest.json` under `uri`."""
        content = {
            "format_version": FORMAT_VERSION,
            "hash": self.hash,
            "preset": self.preset,
            "reading": dict(self.reading),
            "origin": self.origin,
            "sources": [dict(source) for source in self.sources],
            "corpus": dict(self.corpus),
            "windows": dict(self.windows),
            "counts": dataclasses.asdict(self.counts),
            "id_dtype": self.vocabulary.id_dtype.name,
            "vocabulary": self.vocabulary.to_dict(),
            "splits": {
                name: {
                    "num_documents": split.num_documents,
                    "num_ids": split.num_ids,
                    "shards": [dataclasses.asdict(shard) for shard in split.shards],
                }
                for name, split in self.splits.items()
            },
        }
        text = json.dumps(content, ensure_ascii=False, indent=1)
        storage.write_bytes(storage.join(self.uri, MANIFEST_NAME), text.encode())

    @classmethod
    def load(cls, uri: str) -> Manifest:
        """Reads the manifest at `uri`, which is the folder or the file itself.

        Raises:
            UserError: There is no manifest (the ingest is missing or unfinished), or it is damaged.
        """
        folder = storage.absolute(uri).removesuffix("/" + MANIFEST_NAME)
        place = storage.join(folder, MANIFEST_NAME)
        text = storage.read_if_exists(place)
        if text is None:
            raise UserError(
                f"{folder} holds no {MANIFEST_NAME}; run jobs.ingest with --output {folder} to completion first"
            )
        damaged = UserError(f"{place} does not match its own hash; it was edited or damaged: ingest again")
        try:
            content = json.loads(text)
            version, saved_hash = content["format_version"], content["hash"]
            manifest = cls._of(folder, content) if version == FORMAT_VERSION else None
        except (AttributeError, KeyError, TypeError, ValueError):
            raise damaged from None
        if manifest is None:
            raise UserError(f"{place} has format version {version}, not {FORMAT_VERSION}; ingest again")
        if manifest.hash != saved_hash:
            raise damaged
        return manifest

    @classmethod
    def _of(cls, uri: str, content: Mapping[str, Any]) -> Manifest:
        return cls(
            uri=uri,
            corpus=content["corpus"],
            windows=content["windows"],
            sources=tuple(content["sources"]),
            preset=content.get("preset"),
            reading=content.get("reading", {}),
            origin=content["origin"],
            vocabulary=vocabulary_from_dict(content["vocabulary"]),
            counts=Counts(**content["counts"]),
            splits={
                name: Split(shards=tuple(Shard(**shard) for shard in split["shards"]))
                for name, split in content["splits"].items()
            },
        )
