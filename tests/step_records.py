"""What trainings recorded of their steps (`training.record_steps`)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from textgen import storage
from textgen.spec import RunSpec
from textgen.training.position import Run
from textgen.windows.manifest import Manifest


def recorded(run_uri: str) -> dict[int, tuple[int, float]]:
    """Returns step -> (hash of the global batch, loss); a step made twice must have seen the same windows twice."""
    hashes: dict[int, dict[str, int]] = {}
    losses: dict[int, float] = {}
    for file in storage.list_files(storage.join(run_uri, "steps")):
        start = file.uri.rsplit("/", 1)[-1].split("-rank")[0]
        for line in storage.read_bytes(file.uri).decode().splitlines():
            entry = json.loads(line)
            by_start = hashes.setdefault(entry["step"], {})
            by_start[start] = by_start.get(start, 0) + entry["rows_hash"]
            losses[entry["step"]] = entry["loss"]
    for step, by_start in hashes.items():
        assert len(set(by_start.values())) == 1, f"step {step} saw other windows the second time"
    return {step: (next(iter(by_start.values())), losses[step]) for step, by_start in sorted(hashes.items())}


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
