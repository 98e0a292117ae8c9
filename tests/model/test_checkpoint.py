"""Checkpoints: complete or nonexistent, and refused when a file differs from what was written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.written_windows import tiny_spec
from textgen import storage
from textgen.errors import UserError
from textgen.model.checkpoint import (
    BEST_NAME,
    MARKER_NAME,
    Arrays,
    Checkpoint,
    best_checkpoint,
    checkpoint_uri,
    checkpoint_uris,
    find_checkpoint,
    latest_checkpoint,
)
from textgen.windows.vocabulary import Vocabulary

VOCABULARY = Vocabulary(unit="characters", symbols=tuple(sorted(map(ord, "abשת\U0001f600"))))
WEIGHTS: Arrays = {
    "logits/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "logits/bias": np.zeros(3, np.float32),
}
TRAINING: Arrays = {"optimizer/0": np.array(7, np.int64), "state/h": np.full((4, 2), 0.5, np.float32)}
FILES = ("weights.npz", "training.npz", "checkpoint.json", MARKER_NAME)


def saved(uri: str, *, step: int = 12, training: bool = True) -> Checkpoint:
    """Writes a checkpoint and returns it."""
    unwritten = Checkpoint(
        uri=uri,
        spec=tiny_spec(model__dropout=0.25, sampling__stop=("\n",)),
        vocabulary=VOCABULARY,
        run_name="one",
        manifest_uri="s3://bucket/windows",
        manifest_hash="ab" * 32,
        position={"step": step, "epoch": 0.5},
        metrics={"loss": 1.5, "val_loss": None},
    )
    return unwritten.save(weights=WEIGHTS, training_arrays=TRAINING if training else None)


def test_a_checkpoint_loads_as_it_was_saved(tmp_path: Path) -> None:
    checkpoint = saved(str(tmp_path / "c"))
    loaded = Checkpoint.load(str(tmp_path / "c"))
    assert loaded == checkpoint
    assert loaded.spec == tiny_spec(model__dropout=0.25, sampling__stop=("\n",))
    assert loaded.vocabulary == VOCABULARY
    assert (loaded.step, loaded.position, loaded.metrics) == (12, {"step": 12, "epoch": 0.5}, checkpoint.metrics)
    assert loaded.metrics == {"loss": 1.5, "val_loss": None}
    assert (loaded.run_name, loaded.manifest_uri) == ("one", "s3://bucket/windows")
    assert loaded.manifest_hash == "ab" * 32
    for read, written in ((loaded.weights, WEIGHTS), (loaded.training_arrays, TRAINING)):
        assert read.keys() == written.keys()
        for name, array in written.items():
            assert read[name].dtype == array.dtype
            np.testing.assert_array_equal(read[name], array)


def test_a_checkpoint_may_lack_the_arrays_for_resuming(tmp_path: Path) -> None:
    checkpoint = saved(str(tmp_path), training=False)
    assert not (tmp_path / "training.npz").exists()
    np.testing.assert_array_equal(checkpoint.weights["logits/bias"], WEIGHTS["logits/bias"])
    with pytest.raises(UserError, match=r"has no training.npz; name a checkpoint written by a training run"):
        _ = checkpoint.training_arrays


def test_a_checkpoint_without_its_marker_does_not_exist(tmp_path: Path) -> None:
    run = str(tmp_path)
    for step in (3, 5):
        saved(checkpoint_uri(run, step), step=step)
    storage.delete(storage.join(checkpoint_uri(run, 5), MARKER_NAME))
    with pytest.raises(UserError, match=r"is not a complete checkpoint .* COMPLETE"):
        Checkpoint.load(checkpoint_uri(run, 5))
    assert checkpoint_uris(run) == [checkpoint_uri(run, 3)]
    found = latest_checkpoint(run)
    assert found is not None
    assert found.step == 3


def test_the_marker_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(str(tmp_path))
    written: list[str] = []
    write = storage.write_bytes

    def observed(uri: str, content: bytes) -> None:
        assert not (tmp_path / MARKER_NAME).exists()  # Not even the marker of an older checkpoint at the same URI.
        written.append(uri.rsplit("/", 1)[1])
        write(uri, content)

    monkeypatch.setattr(storage, "write_bytes", observed)
    saved(str(tmp_path))
    assert sorted(written) == sorted(FILES)
    assert written[-1] == MARKER_NAME


def use_everything(uri: str) -> None:
    checkpoint = Checkpoint.load(uri)
    assert checkpoint.weights
    assert checkpoint.training_arrays


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_refused(tmp_path: Path, name: str) -> None:
    saved(str(tmp_path))
    use_everything(str(tmp_path))
    path = tmp_path / name
    whole = path.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x81]) + whole[position + 1 :])
        with pytest.raises(UserError) as raised:
            use_everything(str(tmp_path))
        if name != MARKER_NAME:  # With a damaged marker, the error names another file.
            assert f"{path} differs from what was written" in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_broken_marker_is_named(tmp_path: Path, content: bytes) -> None:
    saved(str(tmp_path))
    (tmp_path / MARKER_NAME).write_bytes(content)
    with pytest.raises(UserError, match="COMPLETE differs from what was written; use another checkpoint"):
        Checkpoint.load(str(tmp_path))


def test_another_format_version_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textgen.model.checkpoint.FORMAT_VERSION", 99)
    saved(str(tmp_path))
    monkeypatch.undo()
    with pytest.raises(UserError, match="has format version 99; this release reads version 1"):
        Checkpoint.load(str(tmp_path))


def test_no_pickle_is_written_or_read(tmp_path: Path) -> None:
    checkpoint = saved(str(tmp_path / "a"))
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        dataclasses.replace(checkpoint, uri=str(tmp_path / "b")).save(weights={"w": np.array([{}], dtype=object)})
    assert not (tmp_path / "b").exists()
    # Whoever writes a pickle also writes its hash; it is still not opened.
    with open(tmp_path / "a" / "weights.npz", "wb") as file:
        np.savez(file, w=np.array([{}], dtype=object))
    import hashlib

    hashes = json.loads((tmp_path / "a" / MARKER_NAME).read_text())
    hashes["weights.npz"] = hashlib.sha256((tmp_path / "a" / "weights.npz").read_bytes()).hexdigest()
    (tmp_path / "a" / MARKER_NAME).write_text(json.dumps(hashes))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        _ = Checkpoint.load(str(tmp_path / "a")).weights


@given(st.lists(st.integers(0, 99_999_999), min_size=2, max_size=8, unique=True))
def test_checkpoint_uris_sort_by_step(steps: list[int]) -> None:
    places = [checkpoint_uri("s3://bucket/run", step) for step in sorted(steps)]
    assert places == sorted(places)


def test_checkpoints_of_a_run_are_listed_oldest_first(tmp_path: Path) -> None:
    run = str(tmp_path)
    assert checkpoint_uris(run) == []
    assert latest_checkpoint(run) is None
    for step in (900, 10_000, 20):
        saved(checkpoint_uri(run, step), step=step)
    assert checkpoint_uris(run) == [checkpoint_uri(run, step) for step in (20, 900, 10_000)]
    latest = latest_checkpoint(run)
    assert latest is not None
    assert latest.step == 10_000


def test_runs_and_checkpoints_are_found(tmp_path: Path) -> None:
    run = str(tmp_path)
    for step in (20, 30, 40):
        saved(checkpoint_uri(run, step), step=step)
    assert best_checkpoint(run) is None
    assert find_checkpoint(run).step == 40  # Without a best checkpoint, the newest one.
    assert find_checkpoint(checkpoint_uri(run, 20) + "/").step == 20
    storage.write_bytes(storage.join(run, BEST_NAME), json.dumps({"checkpoint": "step-00000030"}).encode())
    assert find_checkpoint(run).step == 30
    best = best_checkpoint(run)
    assert best is not None
    assert best.uri == checkpoint_uri(run, 30)


def test_a_uri_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=f"{tmp_path} is neither a checkpoint nor a run with one; use the checkpoint_uri"
    ):
        find_checkpoint(str(tmp_path))


@pytest.mark.tensorflow
def test_the_model_of_a_checkpoint_has_its_weights(tmp_path: Path) -> None:
    from textgen.model.language_model import LanguageModel

    spec = tiny_spec()
    model = LanguageModel(spec.model, vocab_size=VOCABULARY.size, seed=8)
    checkpoint = dataclasses.replace(saved(str(tmp_path / "a")), spec=spec, uri=str(tmp_path / "b"))
    written = checkpoint.save(weights=model.get_weights_by_name())
    built = written.build_model().get_weights_by_name()
    assert built.keys() == model.get_weights_by_name().keys()
    for name, array in model.get_weights_by_name().items():
        np.testing.assert_array_equal(built[name], array)
    wider = dataclasses.replace(checkpoint, spec=tiny_spec(model__units=9), uri=str(tmp_path / "c"))
    with pytest.raises(UserError, match="the weights do not fit the model"):
        wider.save(weights=model.get_weights_by_name()).build_model()


def test_a_best_checkpoint_replaced_while_it_is_read_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = str(tmp_path)
    for step in (1, 2):
        saved(checkpoint_uri(run, step), step=step)
    storage.write_bytes(storage.join(run, BEST_NAME), b'{"checkpoint": "step-00000001"}')
    read = storage.read_if_exists

    def overtaken(uri: str) -> bytes | None:
        found = read(uri)
        if uri.endswith(BEST_NAME):  # As a training may do right after the pointer is read.
            storage.write_bytes(uri, b'{"checkpoint": "step-00000002"}')
            storage.delete(checkpoint_uri(run, 1))
        return found

    monkeypatch.setattr(storage, "read_if_exists", overtaken)
    best = best_checkpoint(run)
    assert best is not None
    assert best.step == 2


def test_a_missing_best_checkpoint_is_named(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / BEST_NAME), b'{"checkpoint": "step-00000001"}')
    with pytest.raises(UserError, match="step-00000001 is not a complete checkpoint"):
        best_checkpoint(str(tmp_path))


def test_saving_succeeds_though_another_driver_deletes_the_checkpoint_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = storage.write_bytes

    def removed(uri: str, content: bytes) -> None:
        write(uri, content)
        if uri.endswith(MARKER_NAME):
            storage.delete(str(tmp_path / "c"))

    monkeypatch.setattr(storage, "write_bytes", removed)
    assert saved(str(tmp_path / "c")).step == 12
