"""The learning-rate finder: suggestions from losses, and the job that measures them."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from jobs import command_line
from tests.written_windows import tiny_spec, written_manifest
from textgen.errors import UserError
from textgen.training.rate_finder import has_diverged, plot, ramp, smoothed, suggestion


def bowl(rates: np.ndarray, *, lowest_at: float) -> list[float]:
    """Returns losses that fall to 1 and rise again, as a function of the distance in decades."""
    return [1 + 0.5 * math.log10(rate / lowest_at) ** 2 for rate in rates]


def test_the_ramp_rises_by_equal_factors() -> None:
    rates = ramp(51)
    assert rates[0] == pytest.approx(1e-5)
    assert rates[-1] == pytest.approx(1.0)
    assert np.ptp(rates[1:] / rates[:-1]) == pytest.approx(0)


def test_smoothing_is_unbiased_from_the_first_step() -> None:
    assert smoothed([3.0] * 7) == pytest.approx([3.0] * 7)
    assert smoothed([1.0, 2.0])[1] == pytest.approx((0.9 * 0.1 * 1.0 + 0.1 * 2.0) / 0.19)


def test_a_tenth_of_the_rate_with_the_lowest_loss_is_suggested() -> None:
    rates = ramp(2001)  # Many steps, so that the average hardly lags.
    found = suggestion(rates, bowl(rates, lowest_at=0.05))
    assert found["learning_rate"] == pytest.approx(0.005, rel=0.2)
    assert found["lowest_loss_at"] == pytest.approx(0.05, rel=0.2)
    assert found["steepest"] < found["learning_rate"]
    assert found["diverged_at"] is None
    assert len(found["steps"]) == 2001


def test_a_ramp_ends_where_the_loss_is_twice_its_lowest_or_not_finite() -> None:
    assert not has_diverged([4.0, 3.0, 2.0])
    assert has_diverged([1.0] * 5 + [9.0] * 5)
    assert has_diverged([4.0, math.nan])
    found = suggestion(ramp(100), [4.0, 3.0, 2.5, math.inf])
    assert [step["loss"] for step in found["steps"]] == [4.0, 3.0, 2.5]
    assert found["diverged_at"] == pytest.approx(ramp(100)[3], rel=0.1)


def test_losses_that_only_rise_suggest_the_lowest_rate() -> None:
    found = suggestion(ramp(20), list(range(1, 21)))
    assert found["lowest_loss_at"] == 1e-5
    assert found["learning_rate"] == 1e-6


def test_the_steepest_fall_ignores_the_first_steps() -> None:
    losses = [9.0, 5.0] + [4.0] * 10 + [3.0] * 20
    found = suggestion(ramp(100), losses)
    assert found["steepest"] == pytest.approx(ramp(100)[11], rel=0.1)
    assert suggestion(ramp(100), losses[:3])["steepest"] == pytest.approx(ramp(100)[2], rel=0.1)


def test_the_picture_is_a_png() -> None:
    rates = ramp(20)
    assert plot(suggestion(rates, bowl(rates, lowest_at=0.01))).startswith(b"\x89PNG")


@pytest.mark.tensorflow
def test_a_nonfinite_first_loss_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from textgen.training.rate_finder import find_learning_rate
    from textgen.windows.batches import WindowReader

    original = WindowReader.batch
    monkeypatch.setattr(
        WindowReader,
        "batch",
        lambda self, step: dataclasses.replace(read := original(self, step), weights=read.weights * np.nan),
    )
    manifest = written_manifest(str(tmp_path), {"train": ["the cat sat"] * 30})
    with pytest.raises(UserError, match="the first loss is not finite"):
        find_learning_rate(tiny_spec(), manifest_uri=manifest.uri, num_steps=5, say=lambda _: None)


@pytest.mark.tensorflow
def test_the_job_suggests_a_rate_at_which_the_loss_falls_and_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from jobs.find_learning_rate import main

    monkeypatch.setattr(command_line, "disconnect", lambda: None)  # Other tests use the session's Ray.
    windows = tmp_path / "windows"
    written_manifest(str(windows), {"train": [f"the cat sat {i % 9} times" for i in range(40)]})
    output = tmp_path / "rates"
    small = [f"--set={change}" for change in ("model.units=8", "windows.context_length=6", "windows.stride=6")]
    main(["--preset", "tiny", "--windows", str(windows), "--output", str(output), "--steps", "60", *small])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads((output / "result.json").read_text()) == found
    assert 1e-4 < found["learning_rate"] < 1
    steps = found["steps"]
    assert min(step["smoothed_loss"] for step in steps) < steps[0]["loss"] * 0.9
    assert {path.name for path in output.iterdir()} == {"result.json", "learning_rates.png"}
