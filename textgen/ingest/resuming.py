"""What already stands under an ingest's output: nothing, an unfinished ingest, or a finished one."""

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
"""Rises where what is staged changes its form: 1 was a Parquet file a chunk."""
IRRELEVANT_CORPUS_FIELDS = ("max_rejected_share",)
"""Settings that change no id: they may differ between an ingest and the one that goes on with it."""


def finished_manifest(output: str, files: Sequence[SourceFile], spec: RunSpec) -> Manifest | None:
    """Returns the manifest of a finished ingest of the same sources and settings; None where there is none.

    Raises:
        UserError: a finished ingest of other sources or settings stands there.
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
    if not all("version" in source for source in there["sources"]):  # Written before there were any.
        wanted["sources"] = [_unversioned(source) for source in wanted["sources"]]
    different = [name for name in wanted if wanted[name] != there.get(name)]
    if different == ["sources"] and _without_content(there) == _without_content(wanted):
        raise UserError(
            f"files of the sources have changed since the finished ingest in {output}; choose another --output, or "
            "delete that one first"
        )
    if different:
        raise UserError(
            f"{output} holds a finished ingest with other {' and '.join(_names(there, wanted, different))}; "
            "choose another --output, or delete that one first"
        )
    return manifest


def begin(output: str, files: Sequence[SourceFile], spec: RunSpec, say: Say) -> None:
    """Marks an output as being written from these sources with this spec.

    What is staged of files that have changed since is thrown away.

    Raises:
        UserError: an unfinished ingest of other sources or settings stands there, with files that are staged.
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
            say("ingest: another version of textgen began the unfinished ingest; beginning anew")
        elif _without_content(before) == _without_content(wanted):
            say("ingest: files of the sources have changed since the unfinished ingest; beginning anew")
        elif any(file.uri.endswith(".json") and file.uri != place for file in storage.list_files(staging)):
            raise UserError(
                f"{output} holds an unfinished ingest of other sources or settings; complete it with those, choose "
                f"another --output, or delete {staging} to begin anew"
            )
        else:
            say(f"ingest: nothing of the unfinished ingest in {output} is complete; beginning anew")
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
    """Returns what is wanted of an ingest, with the names of the sources alone."""
    return [[source["uri"] for source in described["sources"]], described["corpus"], described["windows"]]


def _names(there: dict[str, Any], wanted: dict[str, Any], sections: list[str]) -> list[str]:
    """Returns what differs, by name: the sources, or single settings."""
    names = []
    for section in sections:
        if section == "sources":
            names.append("sources")
            continue
        keys = sorted({*there[section], *wanted[section]})
        names += [f"{section}.{key}" for key in keys if there[section].get(key) != wanted[section].get(key)]
    return names
