"""What the tests of ingest share: the tasks run one after another in this process, and the corpora outside of it."""

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
    """Returns the path of a corpus file outside of the repository; skips the test where it is absent."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"the corpus file {name} is not on this machine")
    return str(path)


def run_serially(
    task: Callable[..., Iterator[dict[str, Any]]],
    items: Sequence[Mapping[str, Any]],
    *,
    say: Callable[[str], None],  # What a real run waits for.
    **arguments: Any,
) -> Iterator[dict[str, Any]]:
    """Stands in for `run_tasks`: the last item first, since no order is promised."""
    for item in reversed(items):
        for value in task(json.loads(json.dumps(item)), **arguments):
            yield json.loads(json.dumps(value))


@pytest.fixture
def serially(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs an ingest without Ray."""
    monkeypatch.setattr(ingest_module, "run_tasks", run_serially)


def ingested(
    sources: Sequence[str], output: Path | str, *, preset: str = "tiny", **settings: Any
) -> tuple[dict[str, Any], Manifest]:
    """Ingests and returns the result and the manifest; settings as `corpus__encoding="cp1252"`."""
    spec = spec_with(preset, **settings)
    result = ingest(list(sources), output=str(output), spec=spec, say=lambda _: None)
    return result, Manifest.load(str(output))


def spec_with(preset: str = "tiny", **settings: Any) -> RunSpec:
    """Returns a preset with settings as `corpus__encoding="cp1252"`."""
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
