"""Damaged, deleted and unrecorded checkpoints at the start of a training."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.tensorflow

pytest.importorskip("tensorflow")

from tests.rendezvous import together  # noqa: E402
from tests.whole_trainings import colour_windows, spec_with, train  # noqa: E402
from tests.written_windows import written_manifest  # noqa: E402
from textgen import storage  # noqa: E402
from textgen.errors import UserError  # noqa: E402
from textgen.model.checkpoint import (  # noqa: E402
    Checkpoint,
    checkpoint_uri,
    checkpoint_uris,
    latest_checkpoint,
    weights_hash,
)
from textgen.spec import override  # noqa: E402
from textgen.training import restoring  # noqa: E402
from textgen.windows.manifest import Manifest  # noqa: E402


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return colour_windows(tmp_path_factory.mktemp("windows"))


def test_other_windows_under_the_same_name_are_refused(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__max_steps=2)
    train(manifest, tmp_path / "run", spec)
    others = written_manifest(str(tmp_path / "others"), {"train": ["another text altogether"] * 40})
    with pytest.raises(UserError, match="was trained on other windows"):
        train(others, tmp_path / "run", override(spec, {"training.max_steps": 4}))


def test_a_damaged_checkpoint_is_set_aside_and_training_resumes_from_the_one_before(
    manifest: Manifest, tmp_path: Path
) -> None:
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
    assert [line.split(": ")[0] for line in lines[:2]] == ["setting aside a damaged checkpoint"] * 2
    assert "step-00000015/training.npz differs from what was written" in lines[0]
    assert "step-00000010/weights.npz differs from what was written" in lines[1]
    assert lines[2] == "resumed damaged from step 5"
    ends = [latest_checkpoint(str(folder)) for folder in (tmp_path / "whole", run)]
    assert ends[0] is not None
    assert ends[1] is not None
    assert outcome["weights_sha256"] == weights_hash(ends[0].weights) == weights_hash(ends[1].weights)
    assert [uri[-2:] for uri in checkpoint_uris(str(run))] == ["10", "15", "20"]


@pytest.mark.parametrize("when", ["while the first worker verifies", "before the second worker reads"])
def test_if_a_lost_drivers_workers_delete_the_chosen_checkpoint_another_is_chosen(
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
        if when == "while the first worker verifies":
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
    for _ in range(2):  # The second time it must not start over.
        with pytest.raises(UserError, match=r"every checkpoint of \S+ is damaged \(step-00000010\)"):
            train(manifest, tmp_path, longer)
    weights.write_bytes(content)
    _, lines, _ = train(manifest, tmp_path, longer)
    assert lines[0] == f"resumed {tmp_path.name} from step 10"


def test_an_unrecorded_best_checkpoint_is_recorded_by_the_next_start(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__max_steps=10)
    train(manifest, tmp_path, spec)
    best = tmp_path / "best.json"
    named = json.loads(best.read_text())
    assert named["checkpoint"] == "step-00000010"
    best.unlink()  # As if the training had ended between the checkpoint and its record.
    train(manifest, tmp_path, spec)
    assert json.loads(best.read_text()) == named


def test_a_best_checkpoint_that_is_set_aside_is_no_longer_the_best(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__max_steps=10, training__checkpoint_every_steps=7, training__validate_every_steps=10)
    train(manifest, tmp_path, spec)
    (tmp_path / "checkpoints" / "step-00000010" / "weights.npz").write_bytes(b"")
    _, lines, _ = train(manifest, tmp_path, override(spec, {"training.max_steps": 8}))
    assert lines[1] == f"resumed {tmp_path.name} from step 7"
    assert json.loads((tmp_path / "best.json").read_text())["checkpoint"] == "step-00000008"
