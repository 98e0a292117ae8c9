"""What trainings recorded of their steps (`training.record_steps`)."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from textgen import storage
from textgen.runs.position import Run
from textgen.spec import RunSpec
from textgen.windows.manifest import Manifest


def recorded(run_uri: str) -> dict[int, tuple[int, float]]:
    """Returns step -> (hash of the global batch, loss) of the steps that a run kept."""
    files = storage.list_files(storage.join(run_uri, "steps"))
    hashes: defaultdict[int, int] = defaultdict(int)
    losses: dict[int, float] = {}
    starts = sorted({_start(file.uri) for file in files})
    for file in files:
        later = [start for start in starts if start > _start(file.uri)]
        for line in storage.read_bytes(file.uri).decode().splitlines():
            entry = json.loads(line)
            if later and entry["step"] >= later[0]:
                break  # What came after the checkpoint from which the run went on was lost.
            hashes[entry["step"]] += entry["rows_hash"]
            losses[entry["step"]] = entry["loss"]
    return {step: (hashes[step], losses[step]) for step in sorted(hashes)}


def _start(uri: str) -> int:
    """Returns the first step of the start that a file is of."""
    return int(uri.rsplit("/", 1)[-1].split("-")[1])


def alone(spec: RunSpec, manifest: Manifest, folder: Path) -> dict[int, tuple[int, float]]:
    """Trains in this process, as one worker, and returns the record of its steps."""
    from textgen.training.loop import train_alone

    run = Run(spec=spec, manifest_uri=manifest.uri, run_uri=str(folder), run_name="alone")
    train_alone(run, say=[].append, report=[].append)
    return recorded(str(folder))


def assert_same(one: dict[int, tuple[int, float]], other: dict[int, tuple[int, float]]) -> None:
    """Makes sure that two trainings saw the same windows and had the same losses at every step."""
    assert {step: entry[0] for step, entry in one.items()} == {step: entry[0] for step, entry in other.items()}
    assert [entry[1] for entry in one.values()] == pytest.approx([entry[1] for entry in other.values()], rel=1e-4)
