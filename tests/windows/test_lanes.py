"""The arithmetic of lanes: every window once, for any number of workers."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import UserError
from textgen.windows.lanes import MASKED, Lanes, Order, ScoringLanes, num_windows, worker_parts, worker_rows

ORDERS: list[Order] = ["stateful", "shuffled"]


@st.composite
def lanes_of_any_size(draw: st.DrawFn) -> Lanes:
    lanes = draw(st.integers(1, 9))
    return Lanes(
        num_windows=draw(st.integers(lanes, 150)),
        global_batch_size=lanes,
        order=draw(st.sampled_from(ORDERS)),
        block_windows=2 ** draw(st.integers(0, 5)),
        seed=draw(st.integers(0, 2**63 - 1)),
    )


def epoch_of(lanes: Lanes, epoch: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Returns the windows of an epoch, shape [steps, lanes]."""
    first = epoch * lanes.steps_per_epoch
    return np.stack([lanes.windows(step) for step in range(first, first + lanes.steps_per_epoch)])


@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 50))
def test_the_number_of_windows(num_ids: int, length: int, stride: int) -> None:
    starts = [start for start in range(0, num_ids, stride) if start + length + 1 <= num_ids]
    assert num_windows(num_ids, length, stride) == len(starts)


def test_the_published_number_of_windows() -> None:
    assert num_windows(134_481, 40, 3) == 44_814


@given(lanes_of_any_size(), st.integers(0, 3))
def test_an_epoch_holds_every_window_once(lanes: Lanes, epoch: int) -> None:
    windows = epoch_of(lanes, epoch)
    seen = windows[windows != MASKED]
    assert sorted(seen.tolist()) == list(range(lanes.num_windows))
    # Only the last step may be masked, and lanes differ by at most one window.
    assert (windows[:-1] != MASKED).all()
    assert (windows[-1] == MASKED).sum() == -lanes.num_windows % lanes.global_batch_size


@given(lanes_of_any_size())
def test_lanes_are_contiguous_and_of_nearly_equal_length(lanes: Lanes) -> None:
    bounds = [lanes.lane_bounds(lane) for lane in range(lanes.global_batch_size)]
    assert (bounds[0][0], bounds[-1][1]) == (0, lanes.num_windows)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))
    lengths = [stop - start for start, stop in bounds]
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) == lanes.steps_per_epoch


@given(lanes_of_any_size(), st.integers(0, 500))
def test_a_row_is_a_window_of_its_lane(lanes: Lanes, step: int) -> None:
    for lane, window in enumerate(lanes.windows(step).tolist()):
        start, stop = lanes.lane_bounds(lane)
        assert window == MASKED or start <= window < stop


@given(lanes_of_any_size(), st.integers(0, 500))
def test_stateful_lanes_are_read_in_order(lanes: Lanes, step: int) -> None:
    stateful = Lanes(num_windows=lanes.num_windows, global_batch_size=lanes.global_batch_size)
    position = step % stateful.steps_per_epoch
    expected = []
    for lane in range(lanes.global_batch_size):
        run = list(range(*stateful.lane_bounds(lane)))
        expected.append(run[position] if position < len(run) else MASKED)
    assert stateful.windows(step).tolist() == expected
    assert stateful.starts_epoch(step) == (position == 0)


@given(lanes_of_any_size(), st.integers(0, 3))
def test_shuffled_windows_of_a_block_are_consecutive(lanes: Lanes, epoch: int) -> None:
    shuffled = Lanes(**{**vars(lanes), "order": "shuffled"})
    for lane, column in enumerate(epoch_of(shuffled, epoch).T):
        windows = [int(window) for window in column if window != MASKED]
        blocks = [shuffled.block_of(window, lane) for window in windows]
        changes = 1 + sum(before != after for before, after in itertools.pairwise(blocks))
        assert changes == len(set(blocks))  # Each block is entered once.
        start, stop = shuffled.lane_bounds(lane)
        for (first, last), count in Counter(blocks).items():
            assert (first - start) % lanes.block_windows == 0
            assert last == min(first + lanes.block_windows, stop)
            assert count == last - first


def in_order_of_first_use(lanes: Lanes, lane: int, windows: list[int]) -> list[int]:
    """Returns the first windows of the blocks in the order in which they are read."""
    return list(dict.fromkeys(lanes.block_of(window, lane)[0] for window in windows))


def test_a_short_last_block_may_come_at_any_position() -> None:
    # Lanes of 10 windows in blocks of 4, 4 and 2: over many epochs the short one comes first, second and last.
    lanes = Lanes(num_windows=30, global_batch_size=3, order="shuffled", block_windows=4, seed=1)
    places = set()
    for epoch in range(20):
        for lane, column in enumerate(epoch_of(lanes, epoch).T):
            short = lanes.lane_bounds(lane)[0] + 8
            places.add(in_order_of_first_use(lanes, lane, column.tolist()).index(short))
    assert places == {0, 1, 2}


def test_epochs_seeds_and_lanes_have_different_orders() -> None:
    def relative(seed: int, epoch: int) -> list[tuple[int, ...]]:
        lanes = Lanes(num_windows=96, global_batch_size=3, order="shuffled", block_windows=8, seed=seed)
        columns = epoch_of(lanes, epoch).T
        return [tuple((column - lanes.lane_bounds(lane)[0]).tolist()) for lane, column in enumerate(columns)]

    orders = [order for seed in (0, 1) for epoch in range(3) for order in relative(seed, epoch)]
    assert len(set(orders)) == len(orders) == 18
    assert relative(1, 2) == relative(1, 2)


def test_windows_within_blocks_and_blocks_are_shuffled() -> None:
    lanes = Lanes(num_windows=64, global_batch_size=1, order="shuffled", block_windows=8, seed=4)
    order = epoch_of(lanes, 0)[:, 0].tolist()
    blocks = [order[start : start + 8] for start in range(0, 64, 8)]
    orders = [tuple(block[0] // 8 for block in blocks), *(tuple(window % 8 for window in block) for block in blocks)]
    assert len(set(orders)) == 9  # The order of blocks also differs from the order within a block.
    assert tuple(range(8)) not in orders


@given(lanes_of_any_size(), st.integers(0, 400), st.integers(1, 6))
def test_workers_share_the_global_batch(lanes: Lanes, step: int, num_workers: int) -> None:
    rows = [worker_rows(lanes.global_batch_size, rank, num_workers) for rank in range(num_workers)]
    pieces = [lanes.windows(step, first_row=first, last_row=last).tolist() for first, last in rows]
    assert list(itertools.chain(*pieces)) == lanes.windows(step).tolist()


@given(st.integers(1, 70), st.integers(1, 70))
def test_rows_are_distributed_evenly(global_batch_size: int, num_workers: int) -> None:
    rows = [worker_rows(global_batch_size, rank, num_workers) for rank in range(num_workers)]
    assert [row for first, last in rows for row in range(first, last)] == list(range(global_batch_size))
    sizes = [last - first for first, last in rows]
    assert max(sizes) - min(sizes) <= 1


@given(lanes_of_any_size(), st.integers(0, 300), st.integers(0, 300))
def test_the_hash_depends_on_the_windows(lanes: Lanes, one: int, other: int) -> None:
    same_windows = lanes.windows(one).tolist() == lanes.windows(other).tolist()
    assert (lanes.windows_hash(one) == lanes.windows_hash(other)) == same_windows


def test_a_corpus_that_is_too_small_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(
        UserError, match=r"training.global_batch_size = 8 windows but the split has 7; lower training.g"
    ):
        Lanes(num_windows=7, global_batch_size=8)
    assert Lanes(num_windows=8, global_batch_size=8).steps_per_epoch == 1


@given(st.integers(0, 200), st.integers(1, 20), st.integers(1, 12))
def test_scoring_counts_every_id_once_as_a_target(num_ids: int, length: int, num_lanes: int) -> None:
    lanes = ScoringLanes(num_ids=num_ids, context_length=length, num_lanes=num_lanes)
    targets: list[int] = []
    for lane in range(num_lanes):
        for step in range(lanes.num_steps):
            first, stop = lanes.targets(step, lane)
            assert 0 <= stop - first <= length
            assert stop - first == length or lanes.targets(step + 1, lane) == (
                stop,
                stop,
            )  # Only the end of a lane is short.
            targets += range(first, stop)
    assert targets == list(range(num_ids))  # Contiguous along each lane, and from lane to lane.


@given(st.integers(0, 200), st.integers(1, 20), st.integers(1, 12), st.integers(0, 30))
def test_a_lane_reads_its_lead_ids(num_ids: int, length: int, num_lanes: int, lead_ids: int) -> None:
    lanes = ScoringLanes(num_ids=num_ids, context_length=length, num_lanes=num_lanes, lead_ids=lead_ids)
    counted: list[int] = []
    for lane in range(num_lanes):
        targets = [p for step in range(lanes.num_steps) for p in range(*lanes.targets(step, lane))]
        own = [p for p in targets if p >= lanes.first_counted(lane)]
        counted += own
        if own:
            assert targets == list(range(max(own[0] - lead_ids, 0), own[-1] + 1))
        else:
            assert not targets  # Nothing is read for a lane without a target.
    assert counted == list(range(num_ids))


def test_every_scoring_step_has_targets() -> None:
    lanes = ScoringLanes(num_ids=22, context_length=5, num_lanes=4)  # Lanes of 5, 6, 5 and 6.
    assert lanes.num_steps == 2
    assert [lanes.targets(1, lane) for lane in range(4)] == [(5, 5), (10, 11), (16, 16), (21, 22)]


@given(st.integers(1, 70), st.integers(1, 9), st.integers(1, 9))
def test_parts_have_the_same_rows_for_any_number_of_workers(batch: int, num_parts: int, num_workers: int) -> None:
    num_workers = min(num_workers, num_parts)
    expected = worker_parts(batch, 0, 1, num_parts=num_parts)
    assert [row for part in expected for row in part] == list(range(batch))
    shared = [worker_parts(batch, rank, num_workers, num_parts=num_parts) for rank in range(num_workers)]
    assert all(shared)
    assert list(itertools.chain(*shared)) == expected
