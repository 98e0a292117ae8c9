"""A training that starts from another run's checkpoint, with another vocabulary."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

pytest.importorskip("tensorflow")

from tests.labelled_windows import classifier_spec, labelled_manifest  # noqa: E402
from tests.rendezvous import Member, together  # noqa: E402
from tests.written_windows import tiny_spec, written_manifest  # noqa: E402
from textgen.errors import UserError  # noqa: E402
from textgen.model.checkpoint import Checkpoint, latest_checkpoint  # noqa: E402
from textgen.runs.lineage import Source  # noqa: E402
from textgen.runs.position import Run  # noqa: E402
from textgen.runs.start import start_run  # noqa: E402
from textgen.spec import RunSpec  # noqa: E402
from textgen.training.collective import Alone, Collective  # noqa: E402
from textgen.training.loop import train_worker  # noqa: E402
from textgen.windows.manifest import Manifest  # noqa: E402

STILL = 1e-30
"""A learning rate at which no weight changes."""


def spec_with(**changes: Any) -> RunSpec:
    quiet = {"training__sample_temperatures": (), "training__global_batch_size": 4, "training__max_steps": 3}
    return tiny_spec(**quiet | changes)


def trained(run: Run, collective: Collective | None = None) -> Checkpoint:
    train_worker(run, collective or Alone(), say=[].append, report=[].append)
    checkpoint = latest_checkpoint(run.run_uri)
    assert checkpoint is not None
    return checkpoint


@pytest.fixture(scope="module", params=["embedding", "one_hot"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A checkpoint of another corpus and other layers than the runs' own."""
    folder = tmp_path_factory.mktemp(request.param)
    texts = [f"a bad hat, {i % 7} times" for i in range(30)]
    manifest = written_manifest(str(folder / "windows"), {"train": texts})
    spec = spec_with(model__units=8, model__input=request.param, training__learning_rate=0.05)
    run = start_run(spec, manifest_uri=manifest.uri, output=str(folder), run_name="source").run
    return trained(run)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    texts = [f"the big cat sat {i % 5} times" for i in range(30)]
    return written_manifest(str(tmp_path_factory.mktemp("windows")), {"train": texts, "val": texts[:3]})


def started(source: Checkpoint, manifest: Manifest, folder: Path, spec: RunSpec) -> Run:
    given = Source(uri=source.uri)
    return start_run(spec, manifest_uri=manifest.uri, output=str(folder), run_name="run", source=given).run


def test_a_run_starts_with_its_sources_weights(source: Checkpoint, manifest: Manifest, tmp_path: Path) -> None:
    spec = spec_with(training__learning_rate=STILL, training__optimizer="sgd")
    first = trained(started(source, manifest, tmp_path, spec))
    assert first.spec.model == source.spec.model
    assert first.vocabulary == manifest.vocabulary
    assert first.lineage is not None
    assert first.lineage["uri"] == source.uri
    assert first.lineage["weights_sha256"] == source.hashes["weights.npz"]
    before, after = source.weights, first.weights
    rows = "embedding/embeddings" if "embedding/embeddings" in after else "lstm_1/kernel"
    for symbol in "abt ":
        old, new = source.vocabulary.encode(symbol)[0], manifest.vocabulary.encode(symbol)[0]
        assert old != new or symbol == " "
        np.testing.assert_array_equal(after[rows][new], before[rows][old])
        np.testing.assert_array_equal(after["logits/kernel"][:, new], before["logits/kernel"][:, old])
    np.testing.assert_array_equal(after["lstm_1/recurrent_kernel"], before["lstm_1/recurrent_kernel"])


def test_a_source_with_other_words_is_refused(tmp_path: Path) -> None:
    spec = classifier_spec(training__max_steps=2)
    words = labelled_manifest(tmp_path / "words")
    trained(start_run(spec, manifest_uri=words.uri, output=str(tmp_path), run_name="source").run)
    source = Source(uri=str(tmp_path / "source"))
    start_run(spec, manifest_uri=words.uri, output=str(tmp_path), run_name="same", source=source)
    texts = ["good tea", "bad tea"] * 12
    splits = {"train": texts, "val": texts[:4], "test": texts[:4]}
    labels = {split: ["pos", "neg"] * (len(own) // 2) for split, own in splits.items()}
    others = written_manifest(str(tmp_path / "others"), splits, unit="words", labels=labels)
    with pytest.raises(UserError, match=r"identifies words by their rank, and these windows rank other words"):
        start_run(spec, manifest_uri=others.uri, output=str(tmp_path), run_name="other", source=source)


def test_a_run_resumes_without_its_source(source: Checkpoint, manifest: Manifest, tmp_path: Path) -> None:
    mine = tmp_path / "source"
    shutil.copytree(source.uri, mine)
    copied = Checkpoint.load(str(mine))
    first = trained(started(copied, manifest, tmp_path, spec_with()))
    shutil.rmtree(mine)
    longer = spec_with(training__max_steps=5)
    last = trained(started(copied, manifest, tmp_path, longer))
    assert (first.step, last.step) == (3, 5)
    assert last.lineage == first.lineage


def test_several_workers_start_with_the_same_weights(source: Checkpoint, manifest: Manifest, tmp_path: Path) -> None:
    alone = trained(started(source, manifest, tmp_path / "one", spec_with()))
    run = started(source, manifest, tmp_path / "two", spec_with())

    def work(member: Member) -> None:
        train_worker(run, member, say=[].append, report=[].append)

    together(2, work)
    both = latest_checkpoint(run.run_uri)
    assert both is not None
    for name, value in alone.weights.items():
        np.testing.assert_allclose(both.weights[name], value, atol=1e-4)


def test_an_overwritten_source_is_refused(source: Checkpoint, manifest: Manifest, tmp_path: Path) -> None:
    copied = Checkpoint.load(str(shutil.copytree(source.uri, tmp_path / "source")))
    run = started(copied, manifest, tmp_path, spec_with())
    copied.save(weights={name: value + 1 for name, value in copied.weights.items()})
    with pytest.raises(UserError, match="was overwritten after this run was started"):
        trained(run)
