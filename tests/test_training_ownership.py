"""Two drivers of one run: the newer one trains, the older one ends and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.tensorflow

from tests.written_windows import tiny_spec, written_manifest  # noqa: E402
from textgen.model.checkpoint import checkpoint_uris  # noqa: E402
from textgen.training.loop import train_alone  # noqa: E402
from textgen.training.ownership import TakenOverError  # noqa: E402
from textgen.training.recorder import HISTORY_NAME  # noqa: E402
from textgen.training.start import start_run  # noqa: E402


@pytest.mark.parametrize("due_next", [{"validate_every_steps": 5}, {"checkpoint_every_steps": 8}])
def test_of_two_drivers_of_a_run_the_older_one_ends_before_it_writes(tmp_path: Path, due_next: dict[str, int]) -> None:
    texts = [f"the {('red', 'blue', 'green')[i % 3]} cat sat {i % 7} times" for i in range(60)]
    manifest = written_manifest(str(tmp_path / "windows"), {"train": texts, "val": texts[:7], "test": texts[:5]})
    spec = tiny_spec(
        training__global_batch_size=10,
        training__max_steps=12,
        training__sample_temperatures=(),
        **{"training__validate_every_steps": 6} | {f"training__{name}": steps for name, steps in due_next.items()},
    )

    def driver(name: str) -> Any:
        return start_run(spec, manifest_uri=manifest.uri, output=str(tmp_path), run_name=name).run

    whole = train_alone(driver("whole"), say=[].append, report=[].append)
    older, newer = driver("run"), []

    def left() -> tuple[list[str], str]:
        return checkpoint_uris(older.run_uri), (tmp_path / "run" / HISTORY_NAME).read_text()

    def another_begins(figures: Mapping[str, Any]) -> None:
        newer.append((driver("run"), left()))

    with pytest.raises(TakenOverError, match=r"run is trained by another command since 20\S+ \(process \d+ on \S+\)"):
        train_alone(older, say=[].append, report=another_begins)
    ((second, before),) = newer
    assert left() == before
    assert train_alone(second, say=[].append, report=[].append)["weights_sha256"] == whole["weights_sha256"]
