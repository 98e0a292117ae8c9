"""Trainings with counts: exact over workers and resumes, no over-confidence, and checkpoints that find their table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

tf = pytest.importorskip("tensorflow")

from tests.rendezvous import together  # noqa: E402
from tests.written_windows import tiny_spec, written_manifest  # noqa: E402
from textgen import storage  # noqa: E402
from textgen.counts.store import CountsRecord, counts_of, place_of  # noqa: E402
from textgen.errors import UserError  # noqa: E402
from textgen.generation.completions import engine_of  # noqa: E402
from textgen.generation.stream import Request  # noqa: E402
from textgen.model.checkpoint import Checkpoint, latest_checkpoint  # noqa: E402
from textgen.model.count_lookup import CountLookup  # noqa: E402
from textgen.progress import silent  # noqa: E402
from textgen.runs.lineage import Source, with_model  # noqa: E402
from textgen.runs.model_card import model_card  # noqa: E402
from textgen.runs.position import Run  # noqa: E402
from textgen.runs.start import start_run  # noqa: E402
from textgen.spec import RunSpec, SamplingSpec  # noqa: E402
from textgen.training.collective import Alone, Collective  # noqa: E402
from textgen.training.loop import train_worker  # noqa: E402
from textgen.windows.manifest import Manifest  # noqa: E402
from textgen.windows.shards import IdReader  # noqa: E402

ORDER = 5
NOUNS = ("cat", "dog", "owl", "rat", "hen")


def spec_with(**changes: Any) -> RunSpec:
    """A training of 23 steps: epochs of 16 steps, validation every 10."""
    defaults = {
        "model__counts_order": ORDER,
        "model__counts_words": 2,
        "model__dropout": 0.2,
        "training__global_batch_size": 14,
        "training__max_steps": 23,
        "training__validate_every_steps": 10,
        "training__sample_temperatures": (0.5,),
        "training__sample_chars": 5,
    }
    return tiny_spec(**defaults | changes)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    texts = [f"the {NOUNS[i % 5]} sat {i % 7} times" for i in range(80)]
    splits = {"train": texts, "val": texts[:7], "test": texts[:5]}
    return written_manifest(str(tmp_path_factory.mktemp("windows")), splits, documents_per_shard=20)


def train(
    manifest: Manifest, folder: Path, spec: RunSpec, *, collective: Collective | None = None, report: Any = None
) -> dict[str, Any]:
    run = Run(spec=spec, manifest_uri=manifest.uri, run_uri=str(folder), run_name=folder.name)
    return train_worker(run, collective or Alone(), say=silent, report=report or (lambda _: None))


@pytest.mark.parametrize("order", ["stateful", "shuffled"])
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_training_cut_off_in_mid_epoch_ends_bit_for_bit_as_if_it_had_not_been(
    manifest: Manifest, tmp_path: Path, order: str, optimizer: str
) -> None:
    spec = spec_with(training__order=order, training__optimizer=optimizer, training__block_windows=4)
    whole = train(manifest, tmp_path / "whole", spec)

    class GoneError(Exception):
        pass

    def leave(metrics: Mapping[str, Any]) -> None:
        if metrics["step"] == 10:
            raise GoneError

    with pytest.raises(GoneError):
        train(manifest, tmp_path / "cut", spec, report=leave)
    again = train(manifest, tmp_path / "cut", spec)
    assert (again["weights_sha256"], again["val_loss"]) == (whole["weights_sha256"], whole["val_loss"])


def test_two_workers_end_bit_for_bit_as_one_does(manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__reduction="fixed_order", training__virtual_workers=2, training__max_steps=5)

    def work(folder: Path) -> Any:
        return lambda member: train(manifest, folder, spec, collective=member)

    (alone,) = together(1, work(tmp_path / "one"))
    first, second = together(2, work(tmp_path / "two"))
    assert alone["weights_sha256"] == first["weights_sha256"] == second["weights_sha256"]
    assert alone["val_loss"] == first["val_loss"]


def bits_on(manifest: Manifest, split: str, *, leaves_out_folds: bool) -> float:
    """Returns the bits per id of the counts alone on the first ids of a split."""
    table = counts_of(manifest, spec_with().model, say=silent)
    assert table is not None
    reader = IdReader(manifest, split)
    ids = reader.read(0, 4000).astype(np.int32)
    reader.close()
    places = tf.range(1, len(ids), dtype=tf.int64)[None] if leaves_out_folds else None
    lookup = CountLookup(table)
    found = lookup(tf.constant(ids[None, :-1]), tf.zeros((1, lookup.reach)), places=places)
    longest = found.log_probabilities[0, :, -1].numpy()
    return -float(np.take_along_axis(longest, ids[1:, None], 1).mean()) / np.log(2)


def test_a_corpus_that_repeats_itself_does_not_make_the_counts_too_sure(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghij"))

    def document() -> str:
        return " and now ".join("".join(rng.choice(letters, 12)) for _ in range(6))

    texts = [document() for _ in range(400)]
    manifest = written_manifest(str(tmp_path), {"train": texts[:350], "val": texts[350:]}, documents_per_shard=100)
    held_out = bits_on(manifest, "val", leaves_out_folds=False)
    assert bits_on(manifest, "train", leaves_out_folds=True) == pytest.approx(held_out, abs=0.1)
    assert bits_on(manifest, "train", leaves_out_folds=False) < held_out - 0.5


def test_a_checkpoint_finds_its_counts_in_its_run_then_at_the_windows_and_generates_the_same(tmp_path: Path) -> None:
    texts = [f"the {NOUNS[i % 5]} sat {i % 7} times" for i in range(80)]
    manifest = written_manifest(str(tmp_path / "windows"), {"train": texts, "val": texts[:7]})
    spec = spec_with()
    start = start_run(spec, manifest_uri=manifest.uri, output=str(tmp_path / "runs"), run_name="mine")
    outcome = train_worker(start.run, Alone(), say=silent, report=lambda _: None)
    checkpoint = latest_checkpoint(start.run.run_uri)
    assert checkpoint is not None
    card = model_card(start, outcome, checkpoint)
    assert "a count model of contexts of up to 5 characters and of 3 words" in card
    assert f"all {manifest.split('train').num_ids:,} ids of `train`" in card
    record = CountsRecord.of(manifest, spec.model)
    assert record is not None
    assert checkpoint.counts == record.to_dict() == Checkpoint.load(checkpoint.uri).counts
    assert storage.exists(place_of(start.run.run_uri, record.hash))

    def written() -> str:
        request = Request(prompt="the c", settings=SamplingSpec(temperature=0.5, max_new_chars=20, seed=1))
        return engine_of(checkpoint).generate([request])[0].completion

    first = written()
    storage.delete(place_of(start.run.run_uri, record.hash))
    assert written() == first
    start_run(spec, manifest_uri=manifest.uri, output=str(tmp_path / "runs"), run_name="mine")  # Copies it again.
    storage.delete(manifest.uri)
    assert written() == first
    storage.delete(place_of(start.run.run_uri, record.hash))
    with pytest.raises(UserError, match=r"the counts that .* reads are at none of"):
        checkpoint.build_model()


def test_the_counts_of_a_checkpoint_can_speak_alone(manifest: Manifest, tmp_path: Path) -> None:
    train(manifest, tmp_path / "run", spec_with(training__max_steps=3))
    checkpoint = latest_checkpoint(str(tmp_path / "run"))
    assert checkpoint is not None
    whole, alone = checkpoint.build_model(), checkpoint.build_model(counts_alone=True)
    ids = tf.constant([[3, 4, 5]])
    logits, _ = alone(ids, alone.initial_state(1))
    table = counts_of(manifest, checkpoint.spec.model, say=silent)
    assert table is not None
    lookup = CountLookup(table)
    said = lookup(ids, tf.zeros((1, lookup.reach))).log_probabilities[:, :, -1]
    np.testing.assert_allclose(logits, said, rtol=1e-5)
    assert not np.allclose(whole(ids, whole.initial_state(1))[0], logits, atol=1e-3)


def test_a_run_from_a_checkpoint_has_counts_of_its_own_or_none(manifest: Manifest, tmp_path: Path) -> None:
    source = Source(uri="there", model_settings={"model.counts_order": 4})
    counted, plain = spec_with(), spec_with(model__counts_order=None)
    assert with_model(plain, counted.model, Source(uri="there")).model == plain.model
    own = dataclasses.replace(counted.model, counts_order=4)
    assert with_model(dataclasses.replace(counted, model=own), plain.model, source).model == own


def test_a_run_from_a_counted_checkpoint_says_that_it_has_no_counts(manifest: Manifest, tmp_path: Path) -> None:
    train(manifest, tmp_path / "run", spec_with(training__max_steps=3))
    checkpoint = latest_checkpoint(str(tmp_path / "run"))
    assert checkpoint is not None
    lines: list[str] = []
    source = Source(uri=checkpoint.uri)
    plain = spec_with(model__counts_order=None, training__max_steps=2)
    runs = str(tmp_path / "runs")
    start = start_run(plain, manifest_uri=manifest.uri, output=runs, run_name="tuned", source=source, say=lines.append)
    assert "this run does not use them" in lines[0]
    train_worker(start.run, Alone(), say=silent, report=lambda _: None)
    tuned = latest_checkpoint(start.run.run_uri)
    assert tuned is not None
    assert tuned.counts is None
    assert "counts/kernel" not in tuned.weights


@pytest.mark.parametrize(
    "changes",
    [
        {"training__loss_at": "last", "training__order": "shuffled"},
        {"classifier__features": "language_model", "training__order": "shuffled"},
    ],
)
def test_counts_are_refused_where_nothing_follows_every_id(changes: Mapping[str, Any]) -> None:
    with pytest.raises(UserError, match=r"model\.counts_order is 5 with training.loss_at"):
        spec_with(**changes)
