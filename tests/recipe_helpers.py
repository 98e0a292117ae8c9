"""What the tests of recipes share: small layers, few steps, and ingests in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.recipes.runs import Trained, trained
from tests.ingest_helpers import run_serially
from textgen import presets
from textgen.ingest import pipeline as ingest_module
from textgen.ingest.pipeline import ingest
from textgen.spec import RunSpec, override


def quickly(monkeypatch: pytest.MonkeyPatch, recipe: ModuleType, small: Mapping[str, Mapping[str, Any]]) -> None:
    """Makes a recipe run in seconds: `small` are changes of its presets by name."""
    preset = presets.preset

    def small_preset(name: str) -> RunSpec:
        return override(preset(name), small.get(name, {}))

    def ingested(name: str, source: Path, output: Path, changes: Mapping[str, Any], *, say: Any) -> dict[str, Any]:
        return ingest([str(source)], output=str(output), spec=override(small_preset(name), changes), say=say)

    def trained_within(seconds: float, spec: RunSpec, windows: Path, folder: Path, name: str, *, say: Any) -> Trained:
        assert seconds > 0
        return trained(override(spec, {"training.max_steps": 3}), windows, folder, name, say=say)

    monkeypatch.setattr(presets, "preset", small_preset)
    monkeypatch.setattr(ingest_module, "run_tasks", run_serially)
    monkeypatch.setattr(recipe, "ingested", ingested)
    monkeypatch.setattr(recipe, "trained_within", trained_within, raising=False)
