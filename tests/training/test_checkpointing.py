"""Which checkpoints of a training are written, kept and deleted."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

pytest.importorskip("tensorflow")

from tests.rendezvous import Member, together  # noqa: E402
from tests.step_records import assert_same, recorded  # noqa: E402
from tests.whole_trainings import colour_windows, spec_with, train  # noqa: E402
from textgen.errors import UserError  # noqa: E402
from textgen.model.checkpoint import (  # noqa: E402
    Checkpoint,
    best_checkpoint,
    checkpoint_uri,
    checkpoint_uris,
    latest_checkpoint,
)
from textgen.runs.position import save_checkpoint  # noqa: E402
from textgen.runs.preemption import PreemptedError  # noqa: E402
from textgen.spec import override  # noqa: E402
from textgen.windows.batches import Batch, WindowReader  # noqa: E402
from textgen.windows.manifest import Manifest  # noqa: E402


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return colour_windows(tmp_path_factory.mktemp("windows"))


def test_the_last_checkpoints_and_the_best_are_kept_and_the_others_deleted(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(
        training__learning_rate=1e-9,  # Nothing is learnt, so the best validation is an early one by chance.
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


@pytest.mark.parametrize("why", ["nonfinite", "preempted"])
def test_no_worker_ends_before_the_last_checkpoint_is_written(
    why: str, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a worker ends with an error, Ray Train ends the others, including the one that writes."""
    spec = spec_with(training__max_steps=9, training__checkpoint_every_steps=4)
    train(manifest, tmp_path / "whole", spec)
    ended, is_preempted = threading.Event(), threading.Event()
    read_batch, save = WindowReader.batch, save_checkpoint

    def batch(self: WindowReader, step: int) -> Batch:
        read = read_batch(self, step)
        if why == "nonfinite":
            return dataclasses.replace(read, weights=read.weights * (np.nan if step == 4 else 1.0))
        if step == 2:
            is_preempted.set()
        return read

    def save_slowly(*arguments: Any, **more: Any) -> None:
        assert not ended.wait(0.3)
        save(*arguments, **more)

    def work(member: Member) -> int:
        own = is_preempted if member.rank == 1 else None
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


def test_the_checkpoint_stores_what_it_was_trained_on(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__max_steps=10)
    train(manifest, tmp_path, spec)
    checkpoint = Checkpoint.load(checkpoint_uri(str(tmp_path), 10))
    assert checkpoint.spec == spec
    assert checkpoint.vocabulary == manifest.vocabulary
    assert (checkpoint.manifest_uri, checkpoint.manifest_hash) == (manifest.uri, manifest.hash)
    assert checkpoint.position["epoch"] == pytest.approx(10 / 16)


def test_unfinished_checkpoints_are_deleted(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__max_steps=9, training__checkpoint_every_steps=3, training__keep_checkpoints=1)
    torn = tmp_path / "checkpoints" / "step-00000002"
    torn.mkdir(parents=True)
    (torn / "weights.npz").write_bytes(b"half")
    train(manifest, tmp_path, spec)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())][-1] == "step-00000009"
    assert not (torn / "weights.npz").exists()


def test_foreign_files_among_the_checkpoints_are_ignored(manifest: Manifest, tmp_path: Path) -> None:
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
