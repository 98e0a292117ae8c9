"""The dataset: the readers' batches as ordered rows of Ray Data."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.written_windows import written_manifest
from textgen.windows import dataset as windows_dataset
from textgen.windows.batches import Batch, WindowReader, scoring_batches
from textgen.windows.dataset import batches_of, dataset, scoring_dataset
from textgen.windows.lanes import Lanes, ScoringLanes, num_windows
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_head", "several_tasks")]

DOCS = Path(__file__).resolve().parents[2] / "docs"
COLUMNS = ("inputs", "targets", "weights")


@pytest.fixture
def several_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes tasks small, so that a tiny corpus needs several."""
    monkeypatch.setattr(windows_dataset, "ROWS_PER_TASK", 20)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    texts = {"train": [f"document {n} שלום" for n in range(30)], "val": ["o", "bc"], "test": []}
    return written_manifest(str(tmp_path_factory.mktemp("windows")), texts, documents_per_shard=7)


def assert_same(got: list[Batch], expected: list[Batch]) -> None:
    assert [batch.step for batch in got] == [batch.step for batch in expected]
    for one, other in zip(got, expected, strict=True):
        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def read_here(manifest: Manifest, lanes: Lanes, steps: range, *, length: int, stride: int, cache: Path) -> list[Batch]:
    ids = IdReader(manifest, "train", cache_dir=cache)
    reader = WindowReader(
        ids, lanes, context_length=length, stride=stride, first_row=0, last_row=lanes.global_batch_size
    )
    batches = [reader.batch(step) for step in steps]
    ids.close()
    return batches


def test_rows_are_ordered_by_step_and_row(manifest: Manifest) -> None:
    rows = dataset(manifest, global_batch_size=6).take_all()
    num_ids = manifest.split("train").num_ids
    steps = -(-num_windows(num_ids, 7, 7) // 6)
    assert steps > 20 // 6  # More than one task.
    assert [(row["step"], row["row"]) for row in rows] == [(step, row) for step in range(steps) for row in range(6)]
    assert {row[name].shape for row in rows for name in COLUMNS} == {(7,)}


def test_an_epoch_equals_the_readers_batches(manifest: Manifest, tmp_path: Path) -> None:
    lanes = Lanes(num_windows=num_windows(manifest.split("train").num_ids, 7, 7), global_batch_size=4)
    expected = read_here(manifest, lanes, range(lanes.steps_per_epoch), length=7, stride=7, cache=tmp_path)
    assert_same(list(batches_of(dataset(manifest, global_batch_size=4), num_rows=4)), expected)


def test_any_range_of_steps_in_any_window_order(manifest: Manifest, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"order": "shuffled", "block_windows": 8, "seed": 3, "global_batch_size": 5}
    lanes = Lanes(num_windows=num_windows(manifest.split("train").num_ids, 9, 2), **settings)
    first = lanes.steps_per_epoch - 4  # Across the end of an epoch.
    expected = read_here(manifest, lanes, range(first, first + 11), length=9, stride=2, cache=tmp_path)
    rows = dataset(manifest, context_length=9, stride=2, first_step=first, num_steps=11, **settings)
    assert_same(list(batches_of(rows, num_rows=5)), expected)


@pytest.mark.parametrize(("max_ids", "lead_ids"), [(None, 0), (100, 9), (10**6, 0)])
def test_scoring_equals_the_readers_batches(
    manifest: Manifest, tmp_path: Path, max_ids: int | None, lead_ids: int
) -> None:
    num_ids = min(manifest.split("train").num_ids, max_ids or 10**9)
    lanes = ScoringLanes(num_ids=num_ids, context_length=6, num_lanes=3, lead_ids=lead_ids)
    ids = IdReader(manifest, "train", cache_dir=tmp_path)
    expected = list(scoring_batches(ids, lanes, start_id=manifest.vocabulary.start_id))
    ids.close()
    assert sum(batch.weights.sum() for batch in expected) == num_ids
    rows = scoring_dataset(manifest, split="train", context_length=6, num_lanes=3, lead_ids=lead_ids, max_ids=max_ids)
    assert_same(list(batches_of(rows, num_rows=3)), expected)


def test_a_split_smaller_than_its_lanes_is_scored(manifest: Manifest) -> None:
    rows = scoring_dataset(manifest, split="val", context_length=4, num_lanes=32)
    (batch,) = batches_of(rows, num_rows=32)
    kept = batch.weights.astype(bool)
    assert manifest.vocabulary.decode(batch.targets[kept]) == "o\ufffdc"
    assert kept.sum() == manifest.split("val").num_ids == 5


def test_an_empty_split_has_no_rows(manifest: Manifest) -> None:
    rows = scoring_dataset(manifest, split="test", context_length=4)
    assert list(batches_of(rows, num_rows=32)) == []


def test_rows_out_of_order_are_detected(manifest: Manifest) -> None:
    rows = dataset(manifest, global_batch_size=6, num_steps=2)
    with pytest.raises(AssertionError, match="out of order"):
        list(batches_of(rows, num_rows=4))


def test_a_driver_prints_nothing(manifest: Manifest) -> None:
    program = """
import sys
from textgen.ray_session import connect, disconnect
from textgen.windows.dataset import scoring_dataset
from textgen.windows.manifest import Manifest
connect()
rows = scoring_dataset(Manifest.load(sys.argv[1]), split="val", context_length=4, num_lanes=2).take_all()
disconnect()
print(len(rows))
"""
    finished = subprocess.run(
        [sys.executable, "-c", program, manifest.uri], capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "2\n", "")


def test_the_example_of_the_documents_runs(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```py\n(.*?)```", (DOCS / "python.md").read_text(), re.DOTALL)
    code = block.replace('"runs/first/windows"', repr(manifest.uri)).replace("=64", "=6").replace("=10", "=3")
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith("(6, 7) (6, 7)")] == [f"{n} (6, 7) (6, 7)" for n in range(3)]
