"""The records of a training: shares of time, and TensorBoard."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.tensorflow

pytest.importorskip("tensorflow")

from tests.whole_trainings import colour_windows, spec_with, train  # noqa: E402
from textgen.windows.manifest import Manifest  # noqa: E402


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return colour_windows(tmp_path_factory.mktemp("windows"))


def test_the_outcome_includes_shares_of_time(manifest: Manifest, tmp_path: Path) -> None:
    outcome, lines, _ = train(manifest, tmp_path, spec_with(training__checkpoint_every_steps=7))
    shares = outcome["time_shares"]
    assert set(shares) == {"start", "data", "compute", "reduce", "validation", "checkpoint", "other"}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert all(share >= 0 for share in shares.values())
    assert min(shares[name] for name in ("start", "compute", "validation")) > 0
    assert outcome["gflops_per_worker"] > 0
    assert lines[-1].startswith("time: ")


def test_a_run_writes_scalars_and_samples_for_tensorboard(manifest: Manifest, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(manifest, tmp_path, spec_with(training__sample_temperatures=(0.2, 1.0), training__sample_chars=5))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert {"loss", "val_loss", "val_bits_per_character", "learning_rate", "temperature 0.2", "temperature 1.0"} <= tags
    assert [event.step for event in events.Tensors("val_loss")] == [10, 20, 23]
