"""Decides whether an output is new, holds an unfinished ingest to resume, or a finished one to reuse."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from textgen import storage
from textgen.corpus.sources import SourceFile
from textgen.errors import UserError
from textgen.ingest.staging import REJECTED_NAME, STAGING_NAME
from textgen.progress import Say
from textgen.spec import RunSpec
from textgen.spec.versions import completed
from textgen.windows.manifest import MANIFEST_NAME, UNHASHED_WINDOWS_FIELDS, Manifest

FINGERPRINT_NAME = "fingerprint.json"
STAGING_VERSION = 2
"""Incremented when the format of staged files changes. Version 1 had one Parquet file per chunk."""
IRRELEVANT_CORPUS_FIELDS = ("max_rejected_share",)
"""Settings that do not affect ids, and may differ when an ingest is resumed."""


def finished_manifest(output: str, files: Sequence[SourceFile], spec: RunSpec) -> Manifest | None:
    """Returns the manifest of a finished ingest with the same sources and settings, or None if there is none.

    Raises:
        UserError: The output holds a finished ingest with other sources or settings.
    """
    if not storage.exists(storage.join(output, MANIFEST_NAME)):
        return None
    manifest = Manifest.load(output)
    there = _described(
        [dict(source) for source in manifest.sources],
        completed("corpus", manifest.corpus),
        completed("windows", manifest.windows),
    )
    wanted = _wanted(files, spec)
    if not all("version" in source for source in there["sources"]):  # The manifest predates file versions.
        wanted["sources"] = [_unversioned(source) for source in wanted["sources"]]
    different = [name for name in wanted if wanted[name] != there.get(name)]
    if different == ["sources"] and _without_content(there) == _without_content(wanted):
        raise UserError(
            f"source files have changed since the finished ingest in {output}; choose another --output, or delete that "
            "one first"
        )
    if different:
        raise UserError(
            f"{output} holds a finished ingest with other {' and '.join(_names(there, wanted, different))}; "
            "choose another --output, or delete that one first"
        )
    return manifest


def begin(output: str, files: Sequence[SourceFile], spec: RunSpec, say: Say) -> None:
    """Marks an output as being written from these sources with this spec.

    If source files have changed since an unfinished ingest, its staged files are deleted.

    Raises:
        UserError: The output holds staged files of an unfinished ingest with other sources or settings.
    """
    wanted = _wanted(files, spec)
    fingerprint = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    staging = storage.join(output, STAGING_NAME)
    place = storage.join(staging, FINGERPRINT_NAME)
    if storage.exists(place):
        before = json.loads(storage.read_bytes(place))
        is_readable = before.get("staging_version", 1) == STAGING_VERSION
        if is_readable and before["fingerprint"] == fingerprint:
            return
        if not is_readable:
            say("ingest: the unfinished ingest is from another version of textgen; starting over")
        elif _without_content(before) == _without_content(wanted):
            say("ingest: source files have changed since the unfinished ingest; starting over")
        elif any(file.uri.endswith(".json") and file.uri != place for file in storage.list_files(staging)):
            raise UserError(
                f"{output} holds an unfinished ingest of other sources or settings; complete it with those, choose "
                f"another --output, or delete {staging} to start over"
            )
        else:
            say(f"ingest: the unfinished ingest in {output} has no complete batch; starting over")
    storage.delete(staging)
    storage.delete(storage.join(output, REJECTED_NAME))
    content = {"staging_version": STAGING_VERSION, "fingerprint": fingerprint, **wanted}
    storage.write_bytes(place, json.dumps(content).encode())


def _wanted(files: Sequence[SourceFile], spec: RunSpec) -> dict[str, Any]:
    sections = spec.to_dict()
    return _described([file.to_dict() for file in files], sections["corpus"], sections["windows"])


def _described(sources: list[dict[str, Any]], corpus: dict[str, Any], windows: dict[str, Any]) -> dict[str, Any]:
    return {
        "sources": sources,
        "corpus": {name: value for name, value in corpus.items() if name not in IRRELEVANT_CORPUS_FIELDS},
        "windows": {name: value for name, value in windows.items() if name not in UNHASHED_WINDOWS_FIELDS},
    }


def _unversioned(source: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in source.items() if name != "version"}


def _without_content(described: Mapping[str, Any]) -> list[Any]:
    """Returns source URIs and settings, without the sizes and versions of source files."""
    return [[source["uri"] for source in described["sources"]], described["corpus"], described["windows"]]


def _names(there: dict[str, Any], wanted: dict[str, Any], sections: list[str]) -> list[str]:
    """Returns the names of what differs: `sources`, or single settings."""
    names = []
    for section in sections:
        if section == "sources":
            names.append("sources")
            continue
        keys = sorted({*there[section], *wanted[section]})
        names += [f"{section}.{key}" for key in keys if there[section].get(key) != wanted[section].get(key)]
    return names
