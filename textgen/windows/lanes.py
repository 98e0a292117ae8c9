"""Maps (step, row) to a window: pure arithmetic that does not depend on the number of workers.

The windows of a split are numbered 0..N-1. With a global batch of G, lane i consists of the windows
[i*N//G, (i+1)*N//G), and row i of the global batch at step k of an epoch is a window of lane i. A lane that is one
window shorter than the longest is masked at the last step, so an epoch counts every window exactly once.

Letters: N windows, G lanes, L context length, S stride, B windows per block.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from textgen.errors import UserError

Order = Literal["stateful", "shuffled"]
MASKED = -1
"""Marks a row whose lane has no window at a step."""


def num_windows(num_ids: int, context_length: int, stride: int) -> int:
    """Returns N, the number of windows of context_length + 1 ids that start at a multiple of the stride."""
    return max(0, (num_ids - context_length - 1) // stride + 1)


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """The windows of a split, divided into `global_batch_size` lanes, and the order in which lanes are read."""

    num_windows: int
    global_batch_size: int
    order: Order = "stateful"
    block_windows: int = 64
    """B: number of consecutive windows of a lane that are read and shuffled together."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_windows < self.global_batch_size:
            raise UserError(
                f"a step needs training.global_batch_size = {self.global_batch_size} windows but the split has "
                f"{self.num_windows}; lower training.global_batch_size or windows.context_length, or ingest more text"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Number of windows in the longest lane."""
        return -(-self.num_windows // self.global_batch_size)

    def lane_bounds(self, lane: int) -> tuple[int, int]:
        """Returns the first window of a lane and the one after its last window."""
        n, g = self.num_windows, self.global_batch_size
        return lane * n // g, (lane + 1) * n // g

    def window(self, step: int, lane: int) -> int:
        """Returns the window of a lane at `step`, which counts across epochs, or MASKED if there is none."""
        epoch, position = divmod(step, self.steps_per_epoch)
        start, stop = self.lane_bounds(lane)
        if position >= stop - start:
            return MASKED
        if self.order == "stateful":
            return start + position
        block, offset = self._block_at(epoch, lane, position)
        return start + block * self.block_windows + int(self._within_block(epoch, lane, block)[offset])

    def block_of(self, window: int, lane: int) -> tuple[int, int]:
        """Returns the first window of the block that contains `window`, and the one after the block's last window."""
        start, stop = self.lane_bounds(lane)
        first = start + (window - start) // self.block_windows * self.block_windows
        return first, min(first + self.block_windows, stop)

    def windows(self, step: int, *, first_row: int = 0, last_row: int | None = None) -> npt.NDArray[np.int64]:
        """Returns the windows at rows [first_row, last_row) of a step, shape [rows]; MASKED if a lane has ended."""
        rows = range(first_row, self.global_batch_size if last_row is None else last_row)
        return np.array([self.window(step, lane) for lane in rows], dtype=np.int64)

    def windows_hash(self, step: int) -> str:
        """Returns a hash of all windows in the global batch of a step."""
        return hashlib.sha256(self.windows(step).astype("<i8").tobytes()).hexdigest()[:16]

    def starts_epoch(self, step: int) -> bool:
        """Returns whether an epoch starts at this step, where carried state is reset."""
        return step % self.steps_per_epoch == 0

    def _block_at(self, epoch: int, lane: int, position: int) -> tuple[int, int]:
        """Returns the block, and the offset within it, at a position of a lane."""
        drawn_from = (self._num_blocks(lane), self.seed, epoch, lane)
        start, stop = self.lane_bounds(lane)
        missing = -(stop - start) % self.block_windows
        # The lane's last block may be short; blocks after it in the drawn order move forward by the missing windows.
        if missing and position >= (_last_block_place(*drawn_from) + 1) * self.block_windows - missing:
            position += missing
        return int(_permutation(*drawn_from)[position // self.block_windows]), position % self.block_windows

    def _within_block(self, epoch: int, lane: int, block: int) -> npt.NDArray[np.int64]:
        start, stop = self.lane_bounds(lane)
        size = min(self.block_windows, stop - start - block * self.block_windows)
        return _permutation(size, self.seed, epoch, lane, block + 1)

    def _num_blocks(self, lane: int) -> int:
        start, stop = self.lane_bounds(lane)
        return -(-(stop - start) // self.block_windows)


@functools.lru_cache(maxsize=4096)
def _permutation(size: int, *keys: int) -> npt.NDArray[np.int64]:
    """Returns a permutation of 0..size-1 that is determined by `keys`."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(keys))).permutation(size)


@functools.lru_cache(maxsize=4096)
def _last_block_place(size: int, *keys: int) -> int:
    """Returns the position of the last block in `_permutation` of the same arguments."""
    return int(np.flatnonzero(_permutation(size, *keys) == size - 1)[0])


def worker_rows(global_batch_size: int, rank: int, num_workers: int) -> tuple[int, int]:
    """Returns the rows of the global batch that a worker computes, as first and stop."""
    return rank * global_batch_size // num_workers, (rank + 1) * global_batch_size // num_workers


def worker_parts(global_batch_size: int, rank: int, num_workers: int, *, num_parts: int) -> list[range]:
    """Returns the rows of each part of the global batch that a worker computes.

    The parts do not depend on the number of workers. Each worker computes at least one.
    """
    first, last = worker_rows(num_parts, rank, num_workers)
    return [range(*worker_rows(global_batch_size, part, num_parts)) for part in range(first, last)]


@dataclass(frozen=True, kw_only=True)
class ScoringLanes:
    """Lanes for evaluation: every id of a split is a target exactly once, in contiguous lanes.

    Lane i counts the targets [i*n//G, (i+1)*n//G) and reads up to `lead_ids` targets before them. Step k of a lane
    holds the targets from k*L of those it reads, fewer at its end. The input for target p is id p - 1; for the first
    target, it is the id that precedes documents.
    """

    num_ids: int
    context_length: int
    num_lanes: int = 32
    lead_ids: int = 0
    """Number of targets read but not counted before a lane's own, for a model with a limited context."""

    @property
    def num_steps(self) -> int:
        """Number of steps until the longest lane ends."""
        longest = max(stop - start for start, stop in map(self._read_bounds, range(self.num_lanes)))
        return -(-longest // self.context_length)

    def first_counted(self, lane: int) -> int:
        """Returns the first target that a lane counts."""
        return lane * self.num_ids // self.num_lanes

    def targets(self, step: int, lane: int) -> tuple[int, int]:
        """Returns the targets of a lane at a step as first and stop, an empty range past the lane's end."""
        start, stop = self._read_bounds(lane)
        first = min(start + step * self.context_length, stop)
        return first, min(first + self.context_length, stop)

    def _read_bounds(self, lane: int) -> tuple[int, int]:
        start, stop = self.first_counted(lane), self.first_counted(lane + 1)
        return (max(start - self.lead_ids, 0) if start < stop else stop), stop
