"""Helpers for ingest tests: running tasks sequentially in this process, and corpora outside the repository."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from textgen import presets
from textgen.ingest import pipeline as ingest_module
from textgen.ingest.pipeline import ingest
from textgen.spec import RunSpec, override
from textgen.windows.manifest import SPLITS, Manifest
from textgen.windows.shards import IdReader

SHARED_DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def shared_file(name: str) -> str:
    """Returns the path of a corpus file outside the repository, or skips the test if it does not exist."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"the corpus file {name} is not on this machine")
    return str(path)


def run_serially(
    task: Callable[..., Iterator[dict[str, Any]]],
    items: Sequence[Mapping[str, Any]],
    *,
    say: Callable[[str], None],  # Unused; a real run reports that it waits.
    **arguments: Any,
) -> Iterator[dict[str, Any]]:
    """Replaces `run_tasks` and runs the last item first, since no order is guaranteed."""
    for item in reversed(items):
        for value in task(json.loads(json.dumps(item)), **arguments):
            yield json.loads(json.dumps(value))


@pytest.fixture
def serially(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes ingests run without Ray."""
    monkeypatch.setattr(ingest_module, "run_tasks", run_serially)


def ingested(
    sources: Sequence[str], output: Path | str, *, preset: str = "tiny", **settings: Any
) -> tuple[dict[str, Any], Manifest]:
    """Runs an ingest and returns its result and manifest; settings are given as `corpus__encoding="cp1252"`."""
    spec = spec_with(preset, **settings)
    result = ingest(list(sources), output=str(output), spec=spec, say=lambda _: None)
    return result, Manifest.load(str(output))


def spec_with(preset: str = "tiny", **settings: Any) -> RunSpec:
    """Returns a preset with changed settings, given as `corpus__encoding="cp1252"`."""
    changes = {name.replace("__", ".", 1): value for name, value in settings.items()}
    return override(presets.preset(preset), changes)


def ids_of(manifest: Manifest, cache_dir: Path) -> dict[str, bytes]:
    """Returns the ids of every split, as bytes."""
    found = {}
    for split in SPLITS:
        reader = IdReader(manifest, split, cache_dir=cache_dir)
        found[split] = reader.read(0, reader.num_ids).tobytes()
        reader.close()
    return found
