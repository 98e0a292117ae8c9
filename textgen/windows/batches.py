"""Batches read from shards: a worker's rows for training, the lanes of a split for scoring.

Letters: R rows, T context length, L lanes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textgen.windows.lanes import MASKED, Lanes, ScoringLanes
from textgen.windows.shards import IdReader
from textgen.windows.vocabulary import Ids

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of windows."""

    step: int
    inputs: Int32Array
    """Ids, shape [R, T]."""
    targets: Int32Array
    """The id that follows each input, shape [R, T]."""
    weights: FloatArray
    """1 if the target counts, 0 for padding and for controls (given, not predicted), shape [R, T]."""
    places: Int64Array | None = None
    """Positions of the targets in the split, shape [R, T]; set in training only."""

    def rows_hash(self, *, first_row: int) -> int:
        """Returns a hash of a worker's rows. The sum over all workers does not depend on how rows are distributed.

        Args:
            first_row: Index of the first row in the global batch.
        """
        rows = np.concatenate([self.inputs, self.targets, self.weights.astype(np.int32)], axis=1)
        return sum(zlib.crc32(row.tobytes(), first_row + index) for index, row in enumerate(rows))


class WindowReader:
    """Reads the rows [first_row, last_row) of any training step.

    It keeps one block of windows per lane, so memory depends neither on the corpus nor on the position. Steps can be
    read in any order; consecutive steps are cheap.
    """

    def __init__(
        self, ids: IdReader, lanes: Lanes, *, context_length: int, stride: int, first_row: int, last_row: int
    ) -> None:
        self._ids = ids
        self._lanes = lanes
        self._context_length = context_length
        self._stride = stride
        self._rows = range(first_row, last_row)
        self._blocks: dict[int, tuple[int, int, Ids]] = {}  # Lane -> (first window, stop, ids).

    def batch(self, step: int) -> Batch:
        """Returns this worker's rows of the global batch at `step`."""
        length = self._context_length
        ids = np.zeros((len(self._rows), length + 1), np.int32)  # [R, T + 1]
        weights = np.zeros((len(self._rows), length), np.float32)
        places = np.zeros((len(self._rows), length), np.int64)
        for row, lane in enumerate(self._rows):
            window = self._lanes.window(step, lane)
            if window != MASKED:
                ids[row] = self._window_ids(window, lane)
                weights[row] = 1
                places[row] = np.arange(1, length + 1) + window * self._stride
        weights[self._ids.vocabulary.is_control(ids[:, 1:])] = 0
        return Batch(step=step, inputs=ids[:, :-1], targets=ids[:, 1:], weights=weights, places=places)

    def _window_ids(self, window: int, lane: int) -> Ids:
        first, last, block = self._blocks.get(lane, (0, 0, None))
        if block is None or not first <= window < last:
            first, last = self._lanes.block_of(window, lane)
            stop = (last - 1) * self._stride + self._context_length + 1
            block = self._ids.read(first * self._stride, stop)
            self._blocks[lane] = first, last, block
        start = (window - first) * self._stride
        return block[start : start + self._context_length + 1]


def scoring_batch(ids: IdReader, lanes: ScoringLanes, step: int, *, start_id: int) -> Batch:
    """Returns one step of all scoring lanes, R = `num_lanes`; padding and lead-in targets have weight 0."""
    length = lanes.context_length
    inputs = np.zeros((lanes.num_lanes, length), np.int32)
    targets = np.zeros((lanes.num_lanes, length), np.int32)
    weights = np.zeros((lanes.num_lanes, length), np.float32)
    for lane in range(lanes.num_lanes):
        first, stop = lanes.targets(step, lane)
        if first == stop:
            continue
        read = ids.read(max(first - 1, 0), stop)
        if first == 0:
            read = np.concatenate([np.array([start_id], read.dtype), read])
        inputs[lane, : stop - first] = read[:-1]
        targets[lane, : stop - first] = read[1:]
        is_counted = np.arange(first, stop) >= lanes.first_counted(lane)
        weights[lane, : stop - first] = is_counted & ~ids.vocabulary.is_control(read[1:])
    return Batch(step=step, inputs=inputs, targets=targets, weights=weights)


def scoring_batches(ids: IdReader, lanes: ScoringLanes, *, start_id: int) -> Iterator[Batch]:
    """Yields all steps of the scoring lanes in order."""
    for step in range(lanes.num_steps):
        yield scoring_batch(ids, lanes, step, start_id=start_id)
