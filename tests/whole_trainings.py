"""Whole trainings of small models in this process, with everything random switched on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.written_windows import tiny_spec, written_manifest
from textgen.runs.position import Run
from textgen.spec import RunSpec
from textgen.training.collective import Alone, Collective
from textgen.training.loop import train_worker
from textgen.windows.manifest import Manifest

COLOURS = ("red", "blue", "green")


def colour_windows(folder: Path) -> Manifest:
    """Writes windows of 60 / 7 / 5 documents of a few characters."""
    texts = [f"the {COLOURS[i % 3]} cat sat {i % 7} times" for i in range(60)]
    splits = {"train": texts, "val": texts[:7], "test": texts[:5]}
    return written_manifest(str(folder), splits, documents_per_shard=20)


def spec_with(**changes: Any) -> RunSpec:
    """A training of 23 steps: epochs of 16 steps, validation every 10, everything random switched on."""
    defaults = {
        "training__global_batch_size": 14,
        "training__max_steps": 23,
        "training__validate_every_steps": 10,
        "training__sample_temperatures": (),
        "training__record_steps": True,
        "model__dropout": 0.2,
    }
    return tiny_spec(**defaults | changes)


def train(
    manifest: Manifest,
    folder: Path,
    spec: RunSpec,
    *,
    collective: Collective | None = None,
    preempted: threading.Event | None = None,
) -> tuple[dict[str, Any], list[str], list[Mapping[str, Any]]]:
    """Trains and returns the outcome, the log lines, and the reports."""
    lines: list[str] = []
    reports: list[Mapping[str, Any]] = []
    run = Run(spec=spec, manifest_uri=manifest.uri, run_uri=str(folder), run_name=folder.name)
    outcome = train_worker(run, collective or Alone(), say=lines.append, report=reports.append, preempted=preempted)
    return outcome, lines, reports
