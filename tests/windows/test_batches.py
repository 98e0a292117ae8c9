"""Batches have the same rows for any reader and any starting position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.written_windows import written_manifest
from textgen.windows.batches import WindowReader, scoring_batches
from textgen.windows.lanes import MASKED, Lanes, Order, ScoringLanes, num_windows, worker_rows
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader
from textgen.windows.vocabulary import Ids

TEXTS = [f"{word} {number}" for number in range(12) for word in ("window", "lane", "שלום")]
START_ID = 1


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return written_manifest(str(tmp_path_factory.mktemp("windows")), {"train": TEXTS}, documents_per_shard=5)


@pytest.fixture(scope="module")
def reader(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> IdReader:
    return IdReader(manifest, "train", cache_dir=tmp_path_factory.mktemp("cache"))


def window_reader(
    ids: IdReader, lanes: Lanes, *, length: int, stride: int, rows: tuple[int, int] | None = None
) -> WindowReader:
    first, last = rows or (0, lanes.global_batch_size)
    return WindowReader(ids, lanes, context_length=length, stride=stride, first_row=first, last_row=last)


def lanes_of(ids: IdReader, *, length: int, stride: int, batch: int, order: Order, block: int = 4) -> Lanes:
    return Lanes(
        num_windows=num_windows(ids.num_ids, length, stride),
        global_batch_size=batch,
        order=order,
        block_windows=block,
        seed=5,
    )


SETTINGS = pytest.mark.parametrize(
    ("length", "stride", "batch", "order"),
    [(7, 7, 5, "stateful"), (7, 7, 5, "shuffled"), (9, 3, 4, "shuffled"), (6, 11, 3, "shuffled")],
)


@SETTINGS
def test_rows_are_the_ids_of_their_windows(
    reader: IdReader, length: int, stride: int, batch: int, order: Order
) -> None:
    everything = reader.read(0, reader.num_ids)
    lanes = lanes_of(reader, length=length, stride=stride, batch=batch, order=order)
    windows = window_reader(reader, lanes, length=length, stride=stride)
    num_masked = 0
    for step in range(2 * lanes.steps_per_epoch):
        got = windows.batch(step)
        assert got.step == step
        assert got.inputs.shape == got.targets.shape == got.weights.shape == (batch, length)
        for row, window in enumerate(lanes.windows(step).tolist()):
            num_masked += window == MASKED
            assert set(got.weights[row].tolist()) == {float(window != MASKED)}
            if window != MASKED:
                expected = everything[window * stride : window * stride + length + 1]
                np.testing.assert_array_equal(got.inputs[row], expected[:-1])
                np.testing.assert_array_equal(got.targets[row], expected[1:])
    assert num_masked == 2 * (-lanes.num_windows % batch)


@SETTINGS
@pytest.mark.parametrize("num_workers", [2, 3])
def test_workers_read_the_same_global_batch(
    reader: IdReader, length: int, stride: int, batch: int, order: Order, num_workers: int
) -> None:
    lanes = lanes_of(reader, length=length, stride=stride, batch=batch, order=order)
    alone = window_reader(reader, lanes, length=length, stride=stride)
    workers = [
        window_reader(reader, lanes, length=length, stride=stride, rows=worker_rows(batch, rank, num_workers))
        for rank in range(num_workers)
    ]
    for step in range(lanes.steps_per_epoch + 3):
        whole, pieces = alone.batch(step), [worker.batch(step) for worker in workers]
        for name in ("inputs", "targets", "weights"):
            np.testing.assert_array_equal(
                np.concatenate([getattr(piece, name) for piece in pieces]), getattr(whole, name)
            )


@given(st.lists(st.integers(0, 120), min_size=1, max_size=15), st.sampled_from([1, 2, 8, 64]))
def test_steps_can_be_read_in_any_order(reader: IdReader, steps: list[int], block: int) -> None:
    lanes = lanes_of(reader, length=6, stride=4, batch=3, order="shuffled", block=block)
    jumping = window_reader(reader, lanes, length=6, stride=4)
    for step in steps:
        fresh = window_reader(reader, lanes, length=6, stride=4).batch(step)
        got = jumping.batch(step)
        np.testing.assert_array_equal(got.inputs, fresh.inputs)
        np.testing.assert_array_equal(got.targets, fresh.targets)
        np.testing.assert_array_equal(got.weights, fresh.weights)


class CountingReader(IdReader):
    """Records the ranges that are read."""

    num_reads = 0

    def read(self, start: int, stop: int) -> Ids:
        self.num_reads += 1
        return super().read(start, stop)


@pytest.mark.parametrize("order", ["stateful", "shuffled"])
def test_a_block_is_read_once_and_then_released(manifest: Manifest, tmp_path: Path, order: Order) -> None:
    ids = CountingReader(manifest, "train", cache_dir=tmp_path)
    lanes = lanes_of(ids, length=7, stride=7, batch=5, order=order)
    windows = window_reader(ids, lanes, length=7, stride=7)
    for step in range(lanes.steps_per_epoch):
        windows.batch(step)
    bounds = [lanes.lane_bounds(lane) for lane in range(5)]
    assert ids.num_reads == sum(-(-(stop - start) // 4) for start, stop in bounds)
    ids.close()


@pytest.mark.parametrize(("length", "num_lanes"), [(1, 1), (7, 3), (5, 32), (400, 4), (3, 1000)])
def test_scoring_uses_every_id_as_a_target_after_its_predecessor(reader: IdReader, length: int, num_lanes: int) -> None:
    everything = reader.read(0, reader.num_ids).tolist()
    lanes = ScoringLanes(num_ids=len(everything), context_length=length, num_lanes=num_lanes)
    batches = list(scoring_batches(reader, lanes, start_id=START_ID))
    assert [batch.step for batch in batches] == list(range(lanes.num_steps))
    weights = np.concatenate([batch.weights for batch in batches], axis=1)
    inputs = np.concatenate([batch.inputs for batch in batches], axis=1)
    targets = np.concatenate([batch.targets for batch in batches], axis=1)
    assert set(np.unique(weights)) <= {0.0, 1.0}
    kept = weights.astype(bool)
    assert targets[kept].tolist() == everything
    assert inputs[kept].tolist() == [START_ID, *everything[:-1]]


def test_lead_ids_of_a_lane_are_read_and_not_counted(reader: IdReader) -> None:
    everything = [START_ID, *reader.read(0, 20).tolist()]
    lanes = ScoringLanes(num_ids=20, context_length=6, num_lanes=3, lead_ids=4)  # Lanes count from 0, 6 and 13.
    batches = list(scoring_batches(reader, lanes, start_id=START_ID))
    inputs, targets, weights = (
        np.concatenate([getattr(batch, name) for batch in batches], axis=1) for name in ("inputs", "targets", "weights")
    )
    for row, (first, stop, num_leading) in enumerate([(0, 6, 0), (2, 13, 4), (9, 20, 4)]):
        assert inputs[row, : stop - first].tolist() == everything[first:stop]
        assert targets[row, : stop - first].tolist() == everything[first + 1 : stop + 1]
        assert np.flatnonzero(weights[row]).tolist() == list(range(num_leading, stop - first))


def test_a_split_is_scored_after_its_separator(tmp_path: Path) -> None:
    manifest = written_manifest(str(tmp_path), {"train": ["ab", "ba"]}, separator="-")
    reader = IdReader(manifest, "train", cache_dir=tmp_path / "cache")
    lanes = ScoringLanes(num_ids=reader.num_ids, context_length=9, num_lanes=1)
    (batch,) = scoring_batches(reader, lanes, start_id=manifest.vocabulary.start_id)
    assert manifest.vocabulary.decode(batch.inputs[0][:5]) == "-ab-b"
    assert manifest.vocabulary.decode(batch.targets[0][:5]) == "ab-ba"
    assert batch.weights[0].tolist() == [1.0] * 5 + [0.0] * 4
    reader.close()


def test_an_empty_split_has_no_scoring_batches(manifest: Manifest, tmp_path: Path) -> None:
    reader = IdReader(manifest, "val", cache_dir=tmp_path)
    assert list(scoring_batches(reader, ScoringLanes(num_ids=0, context_length=4), start_id=START_ID)) == []
