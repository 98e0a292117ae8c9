"""The manifest round-trips, and an edited or damaged one is an error."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.written_windows import tiny_spec, written_manifest
from textgen.errors import UserError
from textgen.windows.manifest import MANIFEST_NAME, Counts, Manifest

SPLITS = {"train": ["one vixs", "שתיים", "three", "four"], "val": ["five"], "test": ["six", "seven"]}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return written_manifest(str(tmp_path / "windows"), SPLITS)


def edited(manifest: Manifest, change: Callable[[dict[str, Any]], None]) -> str:
    """Changes the content of a saved manifest, and returns its URI."""
    path = Path(manifest.uri) / MANIFEST_NAME
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))
    return manifest.uri


def test_a_saved_manifest_loads_equal(manifest: Manifest, tmp_path: Path) -> None:
    loaded = Manifest.load(manifest.uri)
    assert loaded == manifest
    assert loaded.hash == manifest.hash
    elsewhere = dataclasses.replace(loaded, uri=str(tmp_path / "elsewhere"))
    elsewhere.save()
    written = [(Path(place.uri) / MANIFEST_NAME).read_bytes() for place in (manifest, elsewhere)]
    assert written[0] == written[1]


def test_a_manifest_counts_ids_and_documents_of_its_splits(manifest: Manifest) -> None:
    assert [manifest.split(name).num_documents for name in ("train", "val", "test")] == [4, 1, 2]
    assert [len(manifest.split(name).shards) for name in ("train", "val", "test")] == [2, 1, 1]
    ids = [sum(len(text) + 1 for text in SPLITS[name]) for name in ("train", "val", "test")]
    assert [manifest.split(name).num_ids for name in ("train", "val", "test")] == ids


@pytest.mark.parametrize("end", ["", "/", "/manifest.json"])
def test_a_manifest_is_found_by_folder_or_file(manifest: Manifest, end: str) -> None:
    assert Manifest.load(manifest.uri + end) == manifest


def test_an_unknown_split_lists_the_known_ones(manifest: Manifest) -> None:
    with pytest.raises(UserError, match="there is no split 'dev'; the splits are train, val, test"):
        manifest.split("dev")


def test_a_missing_manifest_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path} holds no manifest\.json; run jobs\.ingest with --output"):
        Manifest.load(str(tmp_path))


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "vocabulary": lambda content: content["vocabulary"]["symbols"].pop(),
    "symbols out of order": lambda content: content["vocabulary"]["symbols"].reverse(),
    "counts": lambda content: content["counts"].update(characters=1),
    "corpus": lambda content: content["corpus"].update(encoding="cp1252"),
    "unit": lambda content: content["windows"].update(unit="bytes"),
    "ids of a shard": lambda content: content["splits"]["val"]["shards"][0].update(sha256="0" * 64),
    "length of a shard": lambda content: content["splits"]["val"]["shards"][0].update(num_ids=3),
    "documents of a shard": lambda content: content["splits"]["val"]["shards"][0].update(num_documents=3),
    "a shard": lambda content: content["splits"]["train"]["shards"].pop(),
    "order of shards": lambda content: content["splits"]["train"]["shards"].reverse(),
    "split": lambda content: content["splits"].pop("test"),
    "hash": lambda content: content.update(hash="0" * 64),
    "no hash": lambda content: content.pop("hash"),
    "no counts": lambda content: content.pop("counts"),
    "a foreign field": lambda content: content["splits"]["val"]["shards"][0].update(color="red"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_edited_manifest_is_an_error(manifest: Manifest, change: Callable[[dict[str, Any]], Any]) -> None:
    uri = edited(manifest, change)
    with pytest.raises(UserError, match=r"manifest.json does not match its own hash; .* ingest again"):
        Manifest.load(uri)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"3"])
def test_a_file_that_is_not_a_manifest_is_an_error(manifest: Manifest, content: bytes) -> None:
    (Path(manifest.uri) / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(UserError, match=r"manifest.json does not match its own hash"):
        Manifest.load(manifest.uri)


def test_another_format_version_is_an_error(manifest: Manifest) -> None:
    uri = edited(manifest, lambda content: content.update(format_version=99))
    with pytest.raises(UserError, match="has format version 99, not 1; ingest again"):
        Manifest.load(uri)


def test_the_hash_does_not_depend_on_the_location(manifest: Manifest, tmp_path: Path) -> None:
    longer = tiny_spec(windows__context_length=11, windows__stride=11)
    again = written_manifest(str(tmp_path / "elsewhere"), SPLITS, spec=longer)
    assert again.windows["context_length"] == again.windows["stride"] == 11
    assert manifest.windows["context_length"] == manifest.windows["stride"] == 7
    assert again.hash == manifest.hash
    sources = ({"uri": "s3://bucket/other.tsv", "size_bytes": 3},)
    assert dataclasses.replace(manifest, sources=sources, origin="elsewhere").hash == manifest.hash


def test_the_hash_depends_on_the_ids_and_their_meaning(manifest: Manifest, tmp_path: Path) -> None:
    texts = SPLITS | {"val": ["fivé"]}  # Another id in `val`, the same counts.
    swapped = SPLITS | {"train": [*SPLITS["train"][1:], SPLITS["train"][0]]}
    others = [
        written_manifest(str(tmp_path / "a"), texts),
        written_manifest(str(tmp_path / "b"), swapped),
        written_manifest(str(tmp_path / "c"), SPLITS, unit="bytes"),
        written_manifest(str(tmp_path / "d"), SPLITS, separator=" "),
        written_manifest(str(tmp_path / "e"), SPLITS, spec=tiny_spec(corpus__seed=1)),
        dataclasses.replace(manifest, vocabulary=dataclasses.replace(manifest.vocabulary, symbols=(97,))),
    ]
    assert len({other.hash for other in [manifest, *others]}) == 1 + len(others)


def test_counts_that_do_not_add_up_are_an_error() -> None:
    counts = Counts(
        records=10,
        documents=4,
        duplicates=1,
        dropped_by_rule={"length": 2, "drop_containing": 1},
        rejected_by_reason={"empty": 2},
        characters=50,
        distinct_characters=7,
    )
    counts.check()
    assert (counts.dropped, counts.rejected) == (3, 2)
    with pytest.raises(RuntimeError, match="11 records went in but 4 documents"):
        dataclasses.replace(counts, records=11).check()
