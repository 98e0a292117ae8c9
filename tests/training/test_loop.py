"""A whole training in this process: resume, best and last checkpoints, early stop, what it leaves behind."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

pytest.importorskip("tensorflow")

from tests.rendezvous import Member, together  # noqa: E402
from tests.step_records import assert_same, recorded  # noqa: E402
from tests.written_windows import tiny_spec, written_manifest  # noqa: E402
from textgen import storage  # noqa: E402
from textgen.errors import UserError  # noqa: E402
from textgen.model.checkpoint import (  # noqa: E402
    Checkpoint,
    best_checkpoint,
    checkpoint_uri,
    checkpoint_uris,
    latest_checkpoint,
    weights_hash,
)
from textgen.runs.position import Run, save_checkpoint  # noqa: E402
from textgen.runs.preemption import PreemptedError  # noqa: E402
from textgen.runs.recording import HISTORY_NAME  # noqa: E402
from textgen.spec import RunSpec, override  # noqa: E402
from textgen.training import restoring  # noqa: E402
from textgen.training.collective import Alone, Collective  # noqa: E402
from textgen.training.loop import train_alone, train_worker  # noqa: E402
from textgen.windows.batches import Batch, WindowReader  # noqa: E402
from textgen.windows.manifest import Manifest  # noqa: E402

COLOURS = ("red", "blue", "green")
TIMES = ("seconds", "cpu_seconds")
"""Figures of a position that no two runs share."""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """60 / 7 / 5 documents of a few characters."""
    texts = [f"the {COLOURS[i % 3]} cat sat {i % 7} times" for i in range(60)]
    splits = {"train": texts, "val": texts[:7], "test": texts[:5]}
    return written_manifest(str(tmp_path_factory.mktemp("windows")), splits, documents_per_shard=20)


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
    """Trains and returns the outcome, the lines said, and the reports."""
    lines: list[str] = []
    reports: list[Mapping[str, Any]] = []
    run = Run(spec=spec, manifest_uri=manifest.uri, run_uri=str(folder), run_name=folder.name)
    outcome = train_worker(run, collective or Alone(), say=lines.append, report=reports.append, preempted=preempted)
    return outcome, lines, reports


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
def test_a_training_cut_off_in_mid_epoch_ends_bit_for_bit_as_if_it_had_not_been(
    manifest: Manifest, tmp_path: Path, form: dict[str, Any]
) -> None:
    spec = spec_with(**form, training__block_windows=4, training__checkpoint_every_steps=7)
    train(manifest, tmp_path / "whole", spec)

    class GoneError(Exception):
        pass

    def leave(metrics: Mapping[str, Any]) -> None:
        if metrics["step"] == 10:  # Of epochs of 16.
            raise GoneError

    run = Run(spec=spec, manifest_uri=manifest.uri, run_uri=str(tmp_path / "cut"), run_name="cut")
    with pytest.raises(GoneError):
        train_alone(run, say=[].append, report=leave)
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


def test_the_outcome_says_where_the_time_went(manifest: Manifest, tmp_path: Path) -> None:
    outcome, lines, _ = train(manifest, tmp_path, spec_with(training__checkpoint_every_steps=7))
    shares = outcome["time_shares"]
    assert set(shares) == {"start", "data", "compute", "reduce", "validation", "checkpoint", "other"}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert all(share >= 0 for share in shares.values())
    assert min(shares[name] for name in ("start", "compute", "validation")) > 0
    assert outcome["gflops_per_worker"] > 0
    assert lines[-1].startswith("time: ")


def test_one_two_and_four_workers_learn_alike(manifest: Manifest, tmp_path: Path) -> None:
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


def test_a_resume_with_another_number_of_workers_carries_the_state_of_every_lane(
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


def test_the_last_checkpoints_and_the_best_are_kept_and_the_others_go(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(
        training__learning_rate=1e-9,  # Nothing is learnt: the best validation comes by chance, and then no better.
        training__checkpoint_every_steps=3,
        training__keep_checkpoints=2,
        training__max_steps=22,
    )
    outcome, lines, reports = train(manifest, tmp_path, spec)
    best = best_checkpoint(str(tmp_path))
    assert best is not None
    assert best.metrics["val_loss"] == min(report["val_loss"] for report in reports)
    kept = {int(uri[-8:]) for uri in checkpoint_uris(str(tmp_path))}
    assert kept == {best.step, 21, 22}
    assert [report["step"] for report in reports] == [10, 20, 22]
    assert outcome["step"] == 22
    assert any("best so far" in line for line in lines)


def test_training_stops_early_when_validations_get_no_better(manifest: Manifest, tmp_path: Path) -> None:
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


def test_a_training_that_loses_its_numbers_says_where(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__learning_rate=1e38, training__optimizer="sgd", training__clip_norm=None)
    told = (
        r"loss \(\S+\) or gradient are no numbers at step \d+ \(windows \d+, .*\) of .*, whose last checkpoint is "
        r"none; lower training\.l"
    )
    with pytest.raises(UserError, match=told):
        train(manifest, tmp_path, spec)


def test_a_training_that_diverges_says_where(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(
        training__learning_rate=50.0,
        training__decay="constant",
        training__warmup_steps=0,
        training__max_steps=150,
        training__epochs=20.0,
        training__checkpoint_every_steps=60,
        training__validate_every_steps=1000,
    )
    told = (
        r"the loss has diverged: \d+\.\d nats over the last 100 steps, where guessing has \d\.\d, at step 99 "
        r"\(windows .*--step 99\) of \S+, whose last checkpoint is \S+step-00000060; lower .*--run-name$"
    )
    for _ in range(2):  # Going on from step 60, it ends where it ended before.
        with pytest.raises(UserError, match=told):
            train(manifest, tmp_path, spec)


@pytest.mark.parametrize("why", ["no number", "machine leaves"])
def test_no_worker_ends_before_the_last_checkpoint_is_written(
    why: str, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one ends in an error, Ray Train ends the others, the one that writes among them."""
    spec = spec_with(training__max_steps=9, training__checkpoint_every_steps=4)
    train(manifest, tmp_path / "whole", spec)
    ended, leaves = threading.Event(), threading.Event()
    read_batch, save = WindowReader.batch, save_checkpoint

    def batch(self: WindowReader, step: int) -> Batch:
        read = read_batch(self, step)
        if why == "no number":
            return dataclasses.replace(read, weights=read.weights * (np.nan if step == 4 else 1.0))
        if step == 2:
            leaves.set()
        return read

    def save_slowly(*arguments: Any, **more: Any) -> None:
        assert not ended.wait(0.3)
        save(*arguments, **more)

    def work(member: Member) -> int:
        own = leaves if member.rank == 1 else None
        try:
            train(manifest, tmp_path / "run", spec, collective=member, preempted=own)
        except (UserError, PreemptedError) as error:
            ended.set()
            return error.step if isinstance(error, PreemptedError) else 4
        return -1

    with monkeypatch.context() as patched:
        patched.setattr(WindowReader, "batch", batch)
        patched.setattr("textgen.training.checkpointing.save_checkpoint", save_slowly)
        steps = together(2, work)
    saved = latest_checkpoint(str(tmp_path / "run"))
    assert saved is not None
    assert steps == [saved.step] * 2
    assert saved.step < 9
    _, lines, _ = train(manifest, tmp_path / "run", spec)
    assert lines[0] == f"resumed run from step {saved.step}"
    assert_same(recorded(str(tmp_path / "whole")), recorded(str(tmp_path / "run")))


@pytest.mark.parametrize("lost", [7, 10, 23])
def test_a_step_that_loses_its_numbers_can_be_left_out(
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
    (line,) = (line for line in lines if "left out" in line)
    assert f"loss (nan) or gradient are no numbers: step {lost - 1} (windows " in line
    with pytest.raises(
        UserError, match=rf"at step {lost - 1} .*--step {lost - 1}\).*step-{lost - 1:08d}; .*nonfinite=skip"
    ):
        train(manifest, tmp_path / "stop", override(spec, {"training.checkpoint_every_steps": 1}))
    stopped = latest_checkpoint(str(tmp_path / "stop"))
    assert stopped is not None
    assert stopped.step == lost - 1
    assert all(np.isfinite(value).all() for value in stopped.weights.values())


def test_a_training_that_leaves_every_step_out_says_so_and_comes_to_its_end(
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


def test_with_more_workers_than_lanes_some_score_nothing(manifest: Manifest, tmp_path: Path) -> None:
    from textgen.evaluation.scoring import NUM_LANES

    spec = spec_with(training__max_steps=2, training__global_batch_size=NUM_LANES + 1)
    (alone, *_), *others = together(
        NUM_LANES + 1, lambda member: train(manifest, tmp_path / "run", spec, collective=member)
    )
    assert all(outcome["val_loss"] == alone["val_loss"] for outcome, *_ in others)
    whole, *_ = train(manifest, tmp_path / "whole", spec)
    assert alone["val_loss"] == pytest.approx(whole["val_loss"], rel=1e-4)


def test_other_windows_under_the_same_name_are_refused(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__max_steps=2)
    train(manifest, tmp_path / "run", spec)
    others = written_manifest(str(tmp_path / "others"), {"train": ["another text altogether"] * 40})
    with pytest.raises(UserError, match="was trained on other windows"):
        train(others, tmp_path / "run", override(spec, {"training.max_steps": 4}))


def test_a_run_leaves_scalars_and_samples_for_tensorboard(manifest: Manifest, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(manifest, tmp_path, spec_with(training__sample_temperatures=(0.2, 1.0), training__sample_chars=5))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert {"loss", "val_loss", "val_bits_per_character", "learning_rate", "temperature 0.2", "temperature 1.0"} <= tags
    assert [event.step for event in events.Tensors("val_loss")] == [10, 20, 23]


def test_the_checkpoint_says_what_it_was_trained_on(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__max_steps=10)
    train(manifest, tmp_path, spec)
    checkpoint = Checkpoint.load(checkpoint_uri(str(tmp_path), 10))
    assert checkpoint.spec == spec
    assert checkpoint.vocabulary == manifest.vocabulary
    assert (checkpoint.manifest_uri, checkpoint.manifest_hash) == (manifest.uri, manifest.hash)
    assert checkpoint.position["epoch"] == pytest.approx(10 / 16)


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_goes_on(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__max_steps=20, training__checkpoint_every_steps=5, training__keep_checkpoints=3)
    train(manifest, tmp_path / "whole", spec)
    run = tmp_path / "damaged"
    train(manifest, run, override(spec, {"training.max_steps": 15}))
    for step, name in ((15, "training.npz"), (10, "weights.npz")):
        path = Path(checkpoint_uri(str(run), step)) / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    outcome, lines, _ = train(manifest, run, spec)
    assert [line.split(": ")[0] for line in lines[:2]] == ["a damaged checkpoint is set aside"] * 2
    assert "step-00000015/training.npz differs from what was written" in lines[0]
    assert "step-00000010/weights.npz differs from what was written" in lines[1]
    assert lines[2] == "resumed damaged from step 5"
    ends = [latest_checkpoint(str(folder)) for folder in (tmp_path / "whole", run)]
    assert ends[0] is not None
    assert ends[1] is not None
    assert outcome["weights_sha256"] == weights_hash(ends[0].weights) == weights_hash(ends[1].weights)
    assert [uri[-2:] for uri in checkpoint_uris(str(run))] == ["10", "15", "20"]


@pytest.mark.parametrize("when", ["while the first worker looks", "before the second worker reads"])
def test_a_checkpoint_that_a_lost_driver_s_workers_remove_is_looked_for_again(
    when: str, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_with(training__max_steps=9, training__checkpoint_every_steps=4)
    run = tmp_path / "run"
    train(manifest, run, spec)
    shutil.rmtree(run / "checkpoints" / "step-00000009")
    shutil.copytree(run / "checkpoints" / "step-00000008", run / "checkpoints" / "step-00000009")
    chosen = checkpoint_uri(str(run), 9)
    is_first, has_read = threading.Lock(), threading.Event()
    verify, read = Checkpoint.verify, restoring._read

    def removed_first(self: Checkpoint) -> None:
        if self.uri == chosen:
            storage.delete(chosen)
        verify(self)

    def removed_between(uri: str) -> Any:
        if uri != chosen:
            return read(uri)
        if is_first.acquire(blocking=False):
            found = read(uri)
            has_read.set()
            return found
        assert has_read.wait(30)
        storage.delete(chosen)
        return read(uri)

    with monkeypatch.context() as patched:
        if when == "while the first worker looks":
            patched.setattr(Checkpoint, "verify", removed_first)
        else:
            patched.setattr(restoring, "_read", removed_between)
        lines = together(2, lambda member: train(manifest, run, spec, collective=member))[0][1]
    assert lines[0] == "resumed run from step 8"


def test_damage_to_every_checkpoint_ends_the_training(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__max_steps=10)
    train(manifest, tmp_path, spec)
    (uri,) = checkpoint_uris(str(tmp_path))
    weights = Path(uri) / "weights.npz"
    content = weights.read_bytes()
    weights.write_bytes(b"")
    longer = override(spec, {"training.max_steps": 20})
    for _ in range(2):  # The second time it must not begin anew.
        with pytest.raises(UserError, match=r"every checkpoint of \S+ is damaged \(step-00000010\)"):
            train(manifest, tmp_path, longer)
    weights.write_bytes(content)
    _, lines, _ = train(manifest, tmp_path, longer)
    assert lines[0] == f"resumed {tmp_path.name} from step 10"


def test_a_best_checkpoint_that_was_not_named_yet_is_named_by_the_next_start(
    manifest: Manifest, tmp_path: Path
) -> None:
    spec = spec_with(training__max_steps=10)
    train(manifest, tmp_path, spec)
    best = tmp_path / "best.json"
    named = json.loads(best.read_text())
    assert named["checkpoint"] == "step-00000010"
    best.unlink()  # As if the end had come between the checkpoint and its name.
    train(manifest, tmp_path, spec)
    assert json.loads(best.read_text()) == named


def test_a_best_checkpoint_that_is_set_aside_is_best_no_longer(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__max_steps=10, training__checkpoint_every_steps=7, training__validate_every_steps=10)
    train(manifest, tmp_path, spec)
    (tmp_path / "checkpoints" / "step-00000010" / "weights.npz").write_bytes(b"")
    _, lines, _ = train(manifest, tmp_path, override(spec, {"training.max_steps": 8}))
    assert lines[1] == f"resumed {tmp_path.name} from step 7"
    assert json.loads((tmp_path / "best.json").read_text())["checkpoint"] == "step-00000008"


def test_what_was_left_of_unfinished_checkpoints_is_removed(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__max_steps=9, training__checkpoint_every_steps=3, training__keep_checkpoints=1)
    torn = tmp_path / "checkpoints" / "step-00000002"
    torn.mkdir(parents=True)
    (torn / "weights.npz").write_bytes(b"half")
    train(manifest, tmp_path, spec)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())][-1] == "step-00000009"
    assert not (torn / "weights.npz").exists()


def test_what_others_leave_among_the_checkpoints_disturbs_nobody(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__max_steps=12, training__checkpoint_every_steps=3, training__keep_checkpoints=1)
    train(manifest, tmp_path, override(spec, {"training.max_steps": 6}))
    checkpoints = tmp_path / "checkpoints"
    copy = checkpoints / "step-00000006.bak"
    shutil.copytree(checkpoints / "step-00000006", copy)
    (checkpoints / "notes.txt").write_text("mine")
    (checkpoints / "step-00000002").mkdir()
    (checkpoints / "step-00000002" / "weights.npz").write_bytes(b"half")
    _, lines, _ = train(manifest, tmp_path, spec)
    assert lines[0] == f"resumed {tmp_path.name} from step 6"
    assert (copy / "COMPLETE").exists()
    assert (checkpoints / "notes.txt").read_text() == "mine"
    assert not (checkpoints / "step-00000002" / "weights.npz").exists()


def test_a_checkpoint_that_cannot_be_written_ends_the_training(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("textgen.training.checkpointing.save_checkpoint", full)
    with pytest.raises(OSError, match="no space left"):
        train(manifest, tmp_path, spec_with(training__checkpoint_every_steps=5))
