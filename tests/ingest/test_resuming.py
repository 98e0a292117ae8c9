"""A finished ingest is recognised, whichever version wrote its manifest."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.written_windows import tiny_spec, written_manifest
from textgen.errors import UserError
from textgen.ingest.resuming import finished_manifest

ADDED_SINCE = ("single_author", "keep_categories", "test_categories", "condition_on", "condition_none_share")


def test_an_old_manifest_matches_the_same_settings(tmp_path: Path) -> None:
    windows = written_manifest(str(tmp_path), {"train": ["the cat sat"] * 30})
    corpus = {name: value for name, value in windows.corpus.items() if name not in ADDED_SINCE}
    dataclasses.replace(windows, corpus=corpus).save()
    found = finished_manifest(str(tmp_path), [], tiny_spec())
    assert found is not None
    assert found.corpus == {name: list(v) if isinstance(v, tuple) else v for name, v in corpus.items()}
    with pytest.raises(UserError, match=r"finished ingest with other corpus\.keep_categories;"):
        finished_manifest(str(tmp_path), [], tiny_spec(corpus__keep_categories=("tea",)))
