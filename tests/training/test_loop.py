"""A whole training in this process: exact resuming, several workers, early stopping, nonfinite losses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

pytest.importorskip("tensorflow")

from tests.rendezvous import Member, together  # noqa: E402
from tests.step_records import recorded  # noqa: E402
from tests.whole_trainings import colour_windows, spec_with, train  # noqa: E402
from tests.written_windows import written_manifest  # noqa: E402
from textgen.errors import UserError  # noqa: E402
from textgen.model.checkpoint import (  # noqa: E402
    best_checkpoint,
    checkpoint_uris,
    latest_checkpoint,
)
from textgen.runs.position import Run  # noqa: E402
from textgen.runs.recording import HISTORY_NAME  # noqa: E402
from textgen.spec import override  # noqa: E402
from textgen.training.loop import train_alone  # noqa: E402
from textgen.windows.batches import Batch, WindowReader  # noqa: E402
from textgen.windows.manifest import Manifest  # noqa: E402

TIMES = ("seconds", "cpu_seconds")
"""Figures of a position that differ between runs."""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return colour_windows(tmp_path_factory.mktemp("windows"))


@pytest.mark.parametrize(
    "form",
    [
        {"training__order": "stateful"},
        {"training__order": "shuffled"},
        {"model__cell": "gru", "model__num_layers": 2, "model__layer_units": (7, 5)},
        {"training__order": "shuffled", "training__loss_at": "last", "model__input": "scaled"},
        {"training__mixed_precision": True, "training__optimizer": "muon"},
    ],
    ids=["stateful", "shuffled", "gru", "last", "mixed precision, muon"],
)
def test_a_training_interrupted_in_mid_epoch_ends_bit_for_bit_like_an_uninterrupted_one(
    manifest: Manifest, tmp_path: Path, form: dict[str, Any]
) -> None:
    spec = spec_with(**form, training__block_windows=4, training__checkpoint_every_steps=7)
    train(manifest, tmp_path / "whole", spec)

    class InterruptedTrainingError(Exception):
        pass

    def interrupt(metrics: Mapping[str, Any]) -> None:
        if metrics["step"] == 10:  # Of epochs of 16.
            raise InterruptedTrainingError

    run = Run(spec=spec, manifest_uri=manifest.uri, run_uri=str(tmp_path / "cut"), run_name="cut")
    with pytest.raises(InterruptedTrainingError):
        train_alone(run, say=[].append, report=interrupt)
    assert [uri[-2:] for uri in checkpoint_uris(run.run_uri)] == ["07", "10"]
    _, lines, _ = train(manifest, tmp_path / "cut", spec)
    assert lines[0] == "resumed cut from step 10"
    ends = [latest_checkpoint(str(tmp_path / name)) for name in ("whole", "cut")]
    assert ends[0] is not None
    assert ends[1] is not None
    for arrays in ("weights", "training_arrays"):
        one, other = getattr(ends[0], arrays), getattr(ends[1], arrays)
        assert one.keys() == other.keys()
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])
    assert ends[0].metrics == ends[1].metrics
    whole_position, cut_position = ({k: v for k, v in end.position.items() if k not in TIMES} for end in ends if end)
    assert whole_position == cut_position
    histories = [
        [
            {k: v for k, v in json.loads(line).items() if k not in TIMES}
            for line in (tmp_path / name / HISTORY_NAME).read_text().splitlines()
        ]
        for name in ("whole", "cut")
    ]
    assert histories[0] == histories[1]
    assert [line["step"] for line in histories[0]] == [10, 20, 23]
    predictions_per_window = spec.windows.context_length if spec.training.loss_at == "every" else 1
    assert histories[0][0]["predictions"] == 10 * 14 * predictions_per_window
    whole = recorded(str(tmp_path / "whole"))
    assert whole.keys() == set(range(23))
    assert recorded(str(tmp_path / "cut")).items() <= whole.items()


def test_one_two_and_four_workers_learn_the_same(manifest: Manifest, tmp_path: Path) -> None:
    changes = {"training__max_steps": 50, "training__epochs": 20.0, "training__validate_every_steps": 1000}
    spec = spec_with(**changes, windows__context_length=3, windows__stride=3)

    def record(num_workers: int) -> dict[int, tuple[int, float]]:
        folder = tmp_path / str(num_workers)
        if num_workers == 1:
            train(manifest, folder, spec)
        else:
            together(num_workers, lambda member: train(manifest, folder, spec, collective=member))
        return recorded(str(folder))

    alone = record(1)
    assert len(alone) == 50
    assert alone[49][1] < 0.95 * alone[0][1]
    for num_workers in (2, 4):
        several = record(num_workers)
        assert {step: entry[0] for step, entry in several.items()} == {step: entry[0] for step, entry in alone.items()}
        losses = [[entry[1] for entry in run.values()] for run in (several, alone)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_two_workers_see_the_same_windows_and_validate_as_one(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__max_steps=6, training__validate_every_steps=3)
    alone, _, _ = train(manifest, tmp_path / "one", spec)

    def work(member: Member) -> dict[str, Any]:
        return train(manifest, tmp_path / "two", spec, collective=member)[0]

    first, second = together(2, work)
    assert first.pop("peak_memory_bytes") > 2**20
    assert second.pop("peak_memory_bytes") > 2**20
    own = {"chars_per_second", "gflops_per_worker", "time_shares"}
    assert min(first["chars_per_second"], second["chars_per_second"]) > 0
    assert first.keys() == second.keys()
    assert {k: v for k, v in first.items() if k not in own} == {k: v for k, v in second.items() if k not in own}
    assert first["num_workers"] == 2
    assert first["val_loss"] == pytest.approx(alone["val_loss"], rel=1e-4)
    one, two = recorded(str(tmp_path / "one")), recorded(str(tmp_path / "two"))
    assert {step: entry[0] for step, entry in one.items()} == {step: entry[0] for step, entry in two.items()}
    assert [entry[1] for entry in two.values()] == pytest.approx([entry[1] for entry in one.values()], rel=1e-4)


def test_resuming_with_another_number_of_workers_keeps_the_state_of_every_lane(
    manifest: Manifest, tmp_path: Path
) -> None:
    spec = spec_with(training__max_steps=6, training__validate_every_steps=3)
    _whole, _, _ = train(manifest, tmp_path / "whole", spec)
    short = override(spec, {"training.max_steps": 3, "training.decay": "constant"})
    same = override(spec, {"training.decay": "constant"})
    train(manifest, tmp_path / "one", same)
    train(manifest, tmp_path / "changed", short)
    together(2, lambda member: train(manifest, tmp_path / "changed", same, collective=member))
    one, changed = latest_checkpoint(str(tmp_path / "one")), latest_checkpoint(str(tmp_path / "changed"))
    assert one is not None
    assert changed is not None
    assert one.step == changed.step == 6
    assert changed.metrics["val_loss"] == pytest.approx(one.metrics["val_loss"], rel=1e-4)
    for name, value in one.training_arrays.items():
        if name.startswith("state/"):
            np.testing.assert_allclose(changed.training_arrays[name], value, atol=1e-4)


def test_training_stops_early_when_validations_do_not_improve(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(
        training__learning_rate=30.0, training__optimizer="sgd", training__decay="constant",
        training__max_steps=200, training__validate_every_steps=2, training__patience=3,
    )  # fmt: skip
    outcome, lines, reports = train(manifest, tmp_path, spec)
    assert outcome["stopped_early"]
    assert outcome["step"] < 200
    losses = [report["val_loss"] for report in reports]
    assert losses.index(min(losses)) == len(losses) - 4  # The best, and three that were not better.
    assert lines[-2] == "stopped early: 3 validations without a better loss"


def test_without_val_the_training_loss_decides_and_val_figures_are_null(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path / "windows"), {"train": ["hello old friend"] * 40})
    spec = spec_with(training__sample_temperatures=(0.5,), training__sample_chars=9)
    outcome, lines, _ = train(manifest, tmp_path / "run", spec)
    assert outcome["val_loss"] is None
    assert outcome["val_bits_per_character"] is None
    best = best_checkpoint(str(tmp_path / "run"))
    assert best is not None
    assert json.loads((tmp_path / "run" / "best.json").read_text())["loss"] == best.metrics["loss"]
    samples = [line for line in lines if "temperature 0.5" in line]
    assert len(samples) == 3
    assert all("hello old" in line for line in samples)


def test_a_nonfinite_loss_ends_the_training_and_names_the_step(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__learning_rate=1e38, training__optimizer="sgd", training__clip_norm=None)
    message = (
        r"the loss \(\S+\) or the gradient is not finite at step \d+ \(windows \d+, .*\) of \S+ \(no checkpoint yet\); "
        r"lower training\.l"
    )
    with pytest.raises(UserError, match=message):
        train(manifest, tmp_path, spec)


def test_a_diverging_loss_ends_the_training_and_names_the_step(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(
        training__learning_rate=50.0,
        training__decay="constant",
        training__warmup_steps=0,
        training__max_steps=150,
        training__epochs=20.0,
        training__checkpoint_every_steps=60,
        training__validate_every_steps=1000,
    )
    message = (
        r"the loss has diverged \(\d+\.\d nats over the last 100 steps, where guessing has \d\.\d\) at step 99 "
        r"\(windows .*--step 99\) of \S+ \(last checkpoint: \S+step-00000060\); lower .*--run-name$"
    )
    for _ in range(2):  # Resumed from step 60, it ends at the same step.
        with pytest.raises(UserError, match=message):
            train(manifest, tmp_path, spec)


@pytest.mark.parametrize("lost", [7, 10, 23])
def test_a_nonfinite_step_can_be_skipped(
    lost: int, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def batch(self: WindowReader, step: int) -> Batch:
        read = original(self, step)
        return dataclasses.replace(read, weights=read.weights * np.nan) if step == lost - 1 else read

    original = WindowReader.batch
    monkeypatch.setattr(WindowReader, "batch", batch)
    spec = spec_with(training__record_steps=False)
    outcome, lines, _ = train(manifest, tmp_path / "skip", override(spec, {"training.nonfinite": "skip"}))
    assert (outcome["step"], outcome["skipped_steps"]) == (23, 1)
    assert np.isfinite(outcome["loss"])
    (line,) = (line for line in lines if "skipped" in line)
    assert f"the loss (nan) or the gradient is not finite: step {lost - 1} (windows " in line
    with pytest.raises(
        UserError, match=rf"at step {lost - 1} .*--step {lost - 1}\).*step-{lost - 1:08d}\); .*nonfinite=skip"
    ):
        train(manifest, tmp_path / "stop", override(spec, {"training.checkpoint_every_steps": 1}))
    stopped = latest_checkpoint(str(tmp_path / "stop"))
    assert stopped is not None
    assert stopped.step == lost - 1
    assert all(np.isfinite(value).all() for value in stopped.weights.values())


def test_a_training_that_skips_every_step_reports_it_and_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = written_manifest(str(tmp_path / "windows"), {"train": ["hello old friend"] * 40})
    original = WindowReader.batch
    monkeypatch.setattr(
        WindowReader,
        "batch",
        lambda self, step: dataclasses.replace(read := original(self, step), weights=read.weights * np.nan),
    )
    spec = spec_with(training__max_steps=3, training__nonfinite="skip", training__record_steps=False)
    outcome, lines, _ = train(manifest, tmp_path / "run", spec)
    assert (outcome["step"], outcome["skipped_steps"], outcome["loss"]) == (3, 3, None)
    assert any(line.startswith("step 3  loss inf") for line in lines)


def test_with_more_workers_than_lanes_validation_is_the_same(manifest: Manifest, tmp_path: Path) -> None:
    from textgen.evaluation.scoring import NUM_LANES

    spec = spec_with(training__max_steps=2, training__global_batch_size=NUM_LANES + 1)
    (alone, *_), *others = together(
        NUM_LANES + 1, lambda member: train(manifest, tmp_path / "run", spec, collective=member)
    )
    assert all(outcome["val_loss"] == alone["val_loss"] for outcome, *_ in others)
    whole, *_ = train(manifest, tmp_path / "whole", spec)
    assert alone["val_loss"] == pytest.approx(whole["val_loss"], rel=1e-4)
