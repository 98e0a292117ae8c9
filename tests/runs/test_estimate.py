"""The duration of a training is estimated before it starts, from operations and not by a clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.written_windows import tiny_spec, written_manifest
from textgen import presets
from textgen.runs import estimate, recording
from textgen.runs.estimate import Machine, measured_speed, shorter, step_seconds, training_seconds
from textgen.runs.plan import TrainingPlan
from textgen.runs.recording import ProgressLines
from textgen.spec import RunSpec, override
from textgen.windows.manifest import Manifest

MACHINE = Machine(speed=4e10, num_workers=1, num_threads=2)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    texts = [f"the cat sat {number} times" for number in range(900)]
    return written_manifest(str(tmp_path / "w"), {"train": texts, "val": texts[:9]}, spec=presets.preset("tiny"))


def seconds_of(spec: RunSpec, manifest: Manifest, machine: Machine = MACHINE, **more: Any) -> float:
    return training_seconds(spec, TrainingPlan.of(spec, manifest), machine, **more)


def test_more_work_takes_longer_and_more_cores_less(manifest: Manifest) -> None:
    spec = tiny_spec(training__max_steps=5000)
    known = seconds_of(spec, manifest)
    assert seconds_of(tiny_spec(training__max_steps=9000), manifest) > known
    assert seconds_of(tiny_spec(training__max_steps=5000, model__units=300), manifest) > known
    assert seconds_of(spec, manifest, first_step=4000) < known
    large = tiny_spec(training__max_steps=5000, model__units=300)
    alone = seconds_of(large, manifest)
    for machine in (
        Machine(speed=4e10, num_workers=1, num_threads=7),
        Machine(speed=4e10, num_workers=3, num_threads=2),
    ):
        assert seconds_of(large, manifest, machine) < alone
    assert seconds_of(spec, manifest, Machine(speed=8e10, num_workers=1, num_threads=2)) < known


@pytest.mark.parametrize(
    ("preset", "num_threads", "measured", "speed"),
    [
        ("tiny", 1, 0.0173, 4.12e10),
        ("demo", 1, 0.1925, 4.39e10),
        ("reviews_best", 1, 0.9516, 4.14e10),
        ("tiny", 2, 0.0273, 4.13e10),
        ("demo", 2, 0.1999, 4.41e10),
        ("reviews_best", 2, 0.7738, 5.86e10),
    ],
)
def test_the_estimate_is_within_a_factor_of_two_of_measured_steps(
    preset: str, num_threads: int, measured: float, speed: float, manifest: Manifest
) -> None:
    """The seconds of a step in 32 bits on two cores of an AMD EPYC, and `measured_speed` in the same process."""
    spec = override(presets.preset(preset), {"training.mixed_precision": False, "training.optimizer": "adamw"})
    machine = Machine(speed=speed, num_workers=1, num_threads=num_threads)
    assert 0.5 < step_seconds(spec, TrainingPlan.of(spec, manifest), machine) / measured < 2


@pytest.mark.parametrize(("is_able", "factor"), [(True, 0.6), (False, 1.2)])
def test_bfloat16_products_take_longer_on_cpus_without_instructions(
    is_able: bool, factor: float, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "multiplies_bfloat16", lambda: is_able)
    monkeypatch.setattr(estimate, "POSITION_OPERATIONS", 0.0)
    monkeypatch.setattr(estimate, "STEP_OPERATIONS", 0.0)
    plain, mixed = (
        step_seconds(spec, TrainingPlan.of(spec, manifest), MACHINE)
        for spec in (tiny_spec(training__mixed_precision=False), tiny_spec(training__mixed_precision=True))
    )
    assert mixed / plain == pytest.approx(factor)


def test_updates_by_muon_take_longer_however_many_workers_there_are(manifest: Manifest) -> None:
    seconds = {}
    for optimizer in ("adam", "muon"):
        spec = tiny_spec(training__optimizer=optimizer, training__global_batch_size=16, model__units=300)
        for num_workers in (1, 16):
            machine = Machine(speed=4e10, num_workers=num_workers, num_threads=1)
            seconds[optimizer, num_workers] = step_seconds(spec, TrainingPlan.of(spec, manifest), machine)
    extra = {n: seconds["muon", n] - seconds["adam", n] for n in (1, 16)}
    assert extra[1] > 0
    assert extra[1] == pytest.approx(extra[16])


def test_for_a_long_training_fewer_steps_and_shorter_presets_are_suggested(manifest: Manifest) -> None:
    long = {"training__epochs": 1e6, "model__units": 400, "training__optimizer": "adam"}
    spec = tiny_spec(training__max_steps=900_000, **long)
    plan = TrainingPlan.of(spec, manifest)
    message = shorter(spec, plan, manifest, MACHINE)
    assert "--preset demo with another --run-name (" in message
    assert "--preset tiny" not in message  # Its own preset; only the layers were changed.
    num_steps = int(message.partition("--steps ")[2].split()[0])
    fewer = tiny_spec(training__max_steps=num_steps, **long)
    assert 0.8 * estimate.LONG_SECONDS < seconds_of(fewer, manifest) <= 1.02 * estimate.LONG_SECONDS
    later = shorter(spec, plan, manifest, MACHINE, first_step=700_000)
    assert int(later.partition("--steps ")[2].split()[0]) > 700_000


def test_presets_that_do_not_fit_the_windows_are_not_named(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": ["The Cat."] * 900}, spec=presets.preset("novel_best"))
    spec = presets.preset("novel_best")
    assert "--preset" not in shorter(spec, TrainingPlan.of(spec, manifest), manifest, MACHINE)


def test_a_core_has_a_speed() -> None:
    assert 1e7 < measured_speed() < 1e13


def test_the_time_left_ignores_the_first_step_which_builds_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_PROGRESS_SECONDS", 0.0)  # A line a step.
    reported: list[str] = []
    lines = ProgressLines(reported.append, num_steps=9)
    for step, seconds in enumerate((600.0, 2.0, 4.0), start=1):
        lines.step(step, 0.0, nats=1.0, characters=1.0, seconds=seconds)
    assert [line.rsplit("  ", 1)[-1] for line in reported] == ["1h20m left", "14s left", "18s left"]
