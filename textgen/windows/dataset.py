"""The batches of a manifest as a `ray.data.Dataset`, for evaluation, batch scoring and use in other programs.

Training reads the same batches directly by lane (`textgen.windows.batches`), which can resume in the middle of an
epoch.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from textgen.windows.batches import Batch, WindowReader, scoring_batch
from textgen.windows.lanes import Lanes, Order, ScoringLanes, num_windows
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader

if TYPE_CHECKING:
    import ray.data

ROWS_PER_TASK = 8192

Columns = dict[str, np.ndarray[Any, Any]]


def dataset(
    manifest: Manifest,
    *,
    split: str = "train",
    global_batch_size: int,
    context_length: int | None = None,
    stride: int | None = None,
    order: Order = "stateful",
    block_windows: int = 64,
    seed: int = 0,
    first_step: int = 0,
    num_steps: int | None = None,
) -> ray.data.Dataset:
    """Returns the batches that training reads, one row per window, ordered by (step, row).

    Columns: `step`, `row`, `inputs` [T], `targets` [T], `weights` [T] (0 if the lane has ended). T and the stride
    default to the manifest's, and `num_steps` to one epoch.
    """
    length = context_length or int(manifest.windows["context_length"])
    hop = stride or int(manifest.windows["stride"])
    lanes = Lanes(
        num_windows=num_windows(manifest.split(split).num_ids, length, hop),
        global_batch_size=global_batch_size,
        order=order,
        block_windows=block_windows,
        seed=seed,
    )

    def reader(ids: IdReader) -> Callable[[int], Batch]:
        windows = WindowReader(ids, lanes, context_length=length, stride=hop, first_row=0, last_row=global_batch_size)
        return windows.batch

    steps = range(first_step, first_step + (lanes.steps_per_epoch if num_steps is None else num_steps))
    return _dataset(manifest, split, steps, global_batch_size, reader)


def scoring_dataset(
    manifest: Manifest,
    *,
    split: str,
    context_length: int,
    num_lanes: int = 32,
    lead_ids: int = 0,
    max_ids: int | None = None,
) -> ray.data.Dataset:
    """Returns every id of a split as a target exactly once, in contiguous lanes, with columns and order as `dataset`.

    Each step has `num_lanes` consecutive rows. `max_ids` truncates the split; `lead_ids` is the number of ids that each
    lane reads before its own, at weight 0.
    """
    num_ids = manifest.split(split).num_ids
    lanes = ScoringLanes(
        num_ids=min(num_ids, max_ids or num_ids),
        context_length=context_length,
        num_lanes=num_lanes,
        lead_ids=lead_ids,
    )
    start_id = manifest.vocabulary.start_id

    def reader(ids: IdReader) -> Callable[[int], Batch]:
        return functools.partial(scoring_batch, ids, lanes, start_id=start_id)

    return _dataset(manifest, split, range(lanes.num_steps), num_lanes, reader)


def batches_of(rows: ray.data.Dataset, *, num_rows: int) -> Iterator[Batch]:
    """Yields a dataset's rows as batches of one step each, with `num_rows` rows per step."""
    for columns in rows.iter_batches(batch_size=num_rows, batch_format="numpy"):
        steps = np.unique(columns["step"])
        assert len(steps) == 1, "the rows are out of order"
        assert np.array_equal(columns["row"], np.arange(num_rows)), "the rows are out of order"
        yield Batch(
            step=int(steps[0]), inputs=columns["inputs"], targets=columns["targets"], weights=columns["weights"]
        )


def _dataset(
    manifest: Manifest,
    split: str,
    steps: range,
    num_rows: int,
    make_reader: Callable[[IdReader], Callable[[int], Batch]],
) -> ray.data.Dataset:
    import ray.data  # Takes seconds, and reads settings that `ray_session.connect` must make first.

    def read_steps(columns: Columns) -> Columns:
        numbers = columns["id"] + steps.start
        with IdReader(manifest, split) as ids:
            read = make_reader(ids)
            batches = [read(int(step)) for step in numbers]
        return {
            "step": np.repeat(numbers, num_rows),
            "row": np.tile(np.arange(num_rows), len(batches)),
            "inputs": np.concatenate([batch.inputs for batch in batches]),
            "targets": np.concatenate([batch.targets for batch in batches]),
            "weights": np.concatenate([batch.weights for batch in batches]),
        }

    steps_per_task = max(1, ROWS_PER_TASK // num_rows)
    numbers = ray.data.range(len(steps), override_num_blocks=max(1, -(-len(steps) // steps_per_task)))
    result = numbers.map_batches(read_steps, batch_size=None, batch_format="numpy")
    result.context.execution_options.preserve_order = True
    result.context.enable_progress_bars = False
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # Hides a warning about the bars.
    result.context.print_on_execution_start = False
    return result
