"""A trace shows the text and the documents that a training read."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest

from tests.labelled_windows import document
from tests.written_windows import tiny_spec, written_manifest
from textgen.runs.plan import TrainingPlan
from textgen.runs.trace import Trained, trace
from textgen.spec import RunSpec
from textgen.windows.documents import DocumentLabels
from textgen.windows.lanes import MASKED
from textgen.windows.manifest import Manifest
from textgen.windows.shards import iter_documents

SPLITS = {
    "train": ["ab" * (number % 5) + "c" * (number % 3) + str(number) for number in range(41)],
    "val": ["abc"],
    "test": ["c"],
}


def trained(spec: RunSpec, manifest: Manifest) -> Trained:
    return Trained(uri="runs/x", spec=spec, manifest_uri=manifest.uri, manifest_hash=manifest.hash)


@pytest.mark.parametrize("order", ["stateful", "shuffled"])
def test_rows_show_the_text_and_the_documents_of_their_windows(order: str, tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), SPLITS, documents_per_shard=6)
    spec = tiny_spec(training__order=order, training__global_batch_size=5, training__block_windows=2)
    written = list(iter_documents(manifest, "train"))
    text = "".join(one.text + "\n" for one in written)
    of_id = [one.document_id for one in written for _ in one.text + "\n"]
    lanes = TrainingPlan.of(spec, manifest).lanes
    num_rows = 0
    for step in range(lanes.steps_per_epoch + 2):
        rows = trace(trained(spec, manifest), manifest, step=step, row=None)
        windows = {number: lanes.window(step, number) for number in range(5)}
        assert {row["row"]: row["window"] for row in rows} == {n: w for n, w in windows.items() if w != MASKED}
        for row in rows:
            first = row["window"] * 7
            assert row["first_id"] == first
            assert row["text"] == text[first : first + 8]
            expected = [name for name, _ in itertools.groupby(of_id[first : first + 8])]
            assert [one["document_id"] for one in row["documents"]] == expected
            assert trace(trained(spec, manifest), manifest, step=step, row=row["row"]) == [row]
        num_rows += len(rows)
    assert num_rows > lanes.num_windows


def test_rows_of_a_classifier_are_documents(tmp_path: Path) -> None:
    splits = {
        split: [document(number) for number in range(count)]
        for split, count in {"train": 30, "val": 9, "test": 5}.items()
    }
    labels = {split: [("bad", None, "good")[number % 3] for number in range(len(own))] for split, own in splits.items()}
    manifest = written_manifest(str(tmp_path), splits, documents_per_shard=7, labels=labels)
    spec = tiny_spec(classifier__features="language_model", training__order="shuffled", training__global_batch_size=4)
    places = DocumentLabels.of(manifest, "train", classes=("bad", "good")).places
    lanes = TrainingPlan.of(spec, manifest).lanes
    ids = [one.document_id for one in iter_documents(manifest, "train")]
    for row in trace(trained(spec, manifest), manifest, step=3, row=None):
        (one,) = row["documents"]
        assert one["document_id"] == ids[places[lanes.window(3, row["row"])]]
        assert one["label"] in ("bad", "good")


def test_steps_rows_and_windows_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), SPLITS)
    run = trained(tiny_spec(training__global_batch_size=5), manifest)
    with pytest.raises(ValueError, match="--row is 5; the global batch has rows 0 to 4"):
        trace(run, manifest, step=0, row=5)
    with pytest.raises(ValueError, match="--step is -1; the first step is 0"):
        trace(run, manifest, step=-1, row=0)
    with pytest.raises(ValueError, match="trained on other windows than"):
        trace(dataclasses.replace(run, manifest_hash="other"), manifest, step=0, row=0)
