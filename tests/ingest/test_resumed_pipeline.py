"""A finished ingest is not repeated, and an unfinished one is completed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.test_pipeline import corpus, small_pieces
from tests.ingest_helpers import ingested, run_serially, serially, spec_with
from textgen import storage
from textgen.errors import UserError
from textgen.ingest import pipeline as ingest_module
from textgen.ingest import tasks
from textgen.ingest.pipeline import ingest

__all__ = ["serially", "small_pieces"]
pytestmark = pytest.mark.usefixtures("serially")


def test_a_finished_output_is_not_rewritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = corpus(tmp_path / "in")
    first, _ = ingested([str(source)], tmp_path / "out")
    monkeypatch.setattr(ingest_module, "run_tasks", None)
    said: list[str] = []
    again = ingest([str(source)], output=str(tmp_path / "out"), spec=spec_with("tiny"), say=said.append)
    assert {**again, "seconds": 0} == {**first, "seconds": 0}
    assert "already complete" in said[0]
    with pytest.raises(UserError, match=r"other corpus\.seed and windows\.min_count"):
        ingested([str(source)], tmp_path / "out", corpus__seed=1, windows__min_count=2)
    with pytest.raises(UserError, match="other sources"):
        ingested([str(source / "0.tsv")], tmp_path / "out")
    os.utime(source / "0.tsv", ns=(5, 5))  # As if a label had been corrected in place.
    with pytest.raises(UserError, match="source files have changed since the finished ingest in"):
        ingested([str(source)], tmp_path / "out")
    forget_versions(tmp_path / "out")
    wider, _ = ingested(
        [str(source)],
        tmp_path / "out",
        training__order="shuffled",
        windows__context_length=16,
        windows__stride=4,
    )
    assert wider["windows"]["train"] > first["windows"]["train"]


def forget_versions(output: Path) -> None:
    """Removes the file versions from a manifest, as in manifests of earlier versions."""
    content = json.loads((output / "manifest.json").read_text())
    content["sources"] = [{"uri": file["uri"], "size_bytes": file["size_bytes"]} for file in content["sources"]]
    (output / "manifest.json").write_text(json.dumps(content))


def interrupted_run(after: int) -> Callable[..., Any]:
    """Returns a replacement for `run_tasks` that fails after the given number of results."""
    left = after

    def run(task: Any, items: Any, **arguments: Any) -> Any:
        nonlocal left
        for value in run_serially(task, items, **arguments):
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            yield value

    return run


@pytest.mark.usefixtures("small_pieces")
def test_staged_files_are_read_again_after_their_source_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = corpus(tmp_path / "in")
    with monkeypatch.context() as patch:
        patch.setattr(ingest_module, "run_tasks", interrupted_run(3))
        with pytest.raises(KeyboardInterrupt):
            ingested([str(source)], tmp_path / "out")
    mended = source / "0.tsv"
    mended.write_bytes(mended.read_bytes()[::-1].replace(b"\n", b" ")[::-1])
    os.utime(mended, ns=(5, 5))
    _, whole = ingested([str(source)], tmp_path / "whole")
    _, completed = ingested([str(source)], tmp_path / "out")
    assert completed.hash == whole.hash


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("after", "num_again"), [(3, 2), (10, 1), (22, 0)])
def test_an_unfinished_ingest_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, num_again: int
) -> None:
    source = corpus(tmp_path / "in")
    whole, manifest = ingested([str(source)], tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(ingest_module, "run_tasks", interrupted_run(after))
        with pytest.raises(KeyboardInterrupt):
            ingested([str(source)], tmp_path / "out")
    assert not storage.exists(str(tmp_path / "out" / "manifest.json"))
    with pytest.raises(UserError, match="unfinished ingest of other sources or settings"):
        ingested([str(source)], tmp_path / "out", corpus__seed=5)
    staged_again: list[int] = []
    original = tasks.stage
    monkeypatch.setattr(
        tasks, "stage", lambda item, **kwargs: staged_again.append(item["batch"]) or original(item, **kwargs)
    )
    result, completed = ingested([str(source)], tmp_path / "out")
    assert len(staged_again) == num_again
    assert completed.hash == manifest.hash
    assert not (tmp_path / "out" / "_staging").exists()
    assert {**result, "seconds": 0, "manifest_uri": ""} == {**whole, "seconds": 0, "manifest_uri": ""}
    assert not storage.list_files(str(tmp_path / "out" / "_staging"))


@pytest.mark.parametrize("settings", [{}, {"corpus__seed": 5}])
def test_files_staged_by_another_version_are_staged_again(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Version 1 had one Parquet file per chunk and no version in its fingerprint."""
    source = corpus(tmp_path / "in")
    _, whole = ingested([str(source)], tmp_path / "whole", **settings)
    with pytest.raises(UserError, match="no documents remain for train"):  # The staged files are kept.
        ingested([str(source)], tmp_path / "out", corpus__min_document_chars=1000)
    staged = tmp_path / "out" / "_staging"
    content = json.loads((staged / "fingerprint.json").read_text())
    assert content.pop("staging_version") == 2
    (staged / "fingerprint.json").write_text(json.dumps(content))
    (staged / "00000.json").write_text('[{"name": "_staging/00000-00000.parquet", "source_bytes": 1}]')
    said: list[str] = []
    spec = spec_with("tiny", **settings)
    result = ingest([str(source)], output=str(tmp_path / "out"), spec=spec, say=said.append)
    assert "another version of textgen" in said[0]
    assert result["manifest_hash"] == whole.hash
    assert not staged.exists()
