"""A batch from input files to shards of outputs, by workers of Ray; begun again, it continues where it stopped.

batch.json                      the plan: checkpoint, settings, input files, shards; written first
completions/part-000000.jsonl   the outputs of a shard, whole or not at all (`labels/` of a classifier)
completions/_SUCCESS            the totals: every row has its outputs, once; written last
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from textgen import storage
from textgen.batch import tasks
from textgen.batch.cutting import Shard, grouped, joined, pieces_of, together
from textgen.batch.outputs import Total
from textgen.batch.plan import MARKER_NAME, Plan, begun
from textgen.batch.pool import run_in_pool
from textgen.batch.rows import input_files
from textgen.batch.tasks import Work, shards_uri
from textgen.errors import UserError
from textgen.ingest.ray_tasks import run_tasks
from textgen.model.checkpoint import Checkpoint
from textgen.progress import Say

ROWS_PER_SHARD = 1024
PROGRESS_SECONDS = 10.0
CHECKED_AT_ONCE = 64
"""Finished shards that one task adds up."""


def run_batch(
    work: Work,
    inputs: Sequence[str],
    *,
    output: str,
    rows_per_shard: int = ROWS_PER_SHARD,
    num_workers: int | None = None,
    say: Say,
) -> dict[str, Any]:
    """Does the work on every row of the inputs, and returns the job's result; at once where all of it is done.

    Args:
        work: Of a checkpoint, not of a run, whose best one may change meanwhile.
        inputs: Files, folders and patterns.
        rows_per_shard: Rows whose outputs are written, and lost, together.
        num_workers: Processes with a model each; None takes the CPUs that are free.

    Raises:
        UserError: a row cannot be used, or other work than this stands under `output`.
    """
    started = time.monotonic()
    for flag, value in (("--rows-per-shard", rows_per_shard), ("--num-workers", num_workers)):
        if value is not None and value < 1:
            raise UserError(f"{flag} is {value}; use 1 or more")
    output = storage.absolute(output)
    files = tuple(input_files(inputs, output=output, say=say))
    hashes = Checkpoint.load(work.checkpoint_uri).hashes
    wanted = Plan(work=work, checkpoint_hashes=hashes, files=files, rows_per_shard=rows_per_shard)
    plan = begun(wanted, output, say=say)
    marker = storage.join(shards_uri(output, work), MARKER_NAME)
    if plan is not None and (finished := storage.read_if_exists(marker)) is not None:
        say(f"{output} is finished already, from the same checkpoint, input and settings; nothing to do")
        return dict(json.loads(finished))
    if plan is None:
        plan = dataclasses.replace(wanted, shards=tuple(_cut(wanted, say=say)))
        plan.save(output)
        if not plan.num_rows:
            say(f"warning: {', '.join(inputs)} holds no row, so nothing is {work.kind.done}")
    totals = _finished(plan, output, say=say)
    before = sum(totals.values(), Total())
    totals |= _write(plan, totals, output, num_workers=num_workers, say=say)
    _check_counts(plan, totals, output)
    result = _result(plan, sum(totals.values(), Total()), before, output, seconds=time.monotonic() - started)
    storage.write_bytes(marker, (json.dumps(result) + "\n").encode())
    return result


def _cut(plan: Plan, *, say: Say) -> list[Shard]:
    """Examines all rows, and returns the shards that they make."""
    pieces = pieces_of(plan.files)
    num_bytes = sum(file.size_bytes for file in plan.files)
    say(f"checking the rows of {len(plan.files):,} files, {num_bytes / 1e6:,.1f} MB as stored")
    items = [
        {
            "pieces": [
                (number, dataclasses.asdict(plan.files[pieces[number].file]), dataclasses.asdict(pieces[number]))
                for number in numbers
            ]
        }
        for numbers in together(pieces, plan.files)
    ]
    examined: dict[int, tuple[list[Shard], int]] = {}
    num_rows = 0
    tell = _every(PROGRESS_SECONDS, say)
    for values in run_tasks(tasks.examine, items, say=say, work=plan.work, rows_per_shard=plan.rows_per_shard):
        shards = [Shard.from_list(shard) for shard in values["shards"]]
        examined[values["piece"]] = (shards, values["num_lines"])
        num_rows += sum(shard.num_rows for shard in shards)
        tell(lambda: f"checked {num_rows:,} rows, {len(examined):,} of {len(pieces):,} pieces")  # noqa: B023
    return joined(pieces, examined)


def _finished(plan: Plan, output: str, *, say: Say) -> dict[int, Total]:
    """Returns the totals of the shards that are finished; those that are not whole are left to be written again."""
    there = {file.uri for file in storage.list_files(shards_uri(output, plan.work))}
    numbers = [number for number in range(len(plan.shards)) if tasks.shard_uri(output, plan.work, number) in there]
    items = [
        {"shards": [(number, plan.shards[number].to_list()) for number in numbers[start : start + CHECKED_AT_ONCE]]}
        for start in range(0, len(numbers), CHECKED_AT_ONCE)
    ]
    totals = {}
    for values in run_tasks(tasks.check, items, say=say, work=plan.work, output=output):
        if values["total"] is not None:
            totals[values["shard"]] = Total(**values["total"])
        else:
            place = tasks.shard_uri(output, plan.work, values["shard"])
            say(f"{place} is not what was written, and is written again")
            storage.delete(place)
    if numbers:
        say(f"{len(totals):,} of {len(plan.shards):,} shards are finished already; continuing")
    return totals


def _write(
    plan: Plan, finished: Mapping[int, Total], output: str, *, num_workers: int | None, say: Say
) -> dict[int, Total]:
    """Writes the missing shards, and returns their totals."""
    missing = [number for number in range(len(plan.shards)) if number not in finished]
    groups = grouped(missing, plan.shards, plan.files, num_workers=num_workers or 1)
    items = [
        {
            "file": dataclasses.asdict(plan.files[plan.shards[group[0]].file]),
            "shards": [(number, plan.shards[number].to_list()) for number in group],
        }
        for group in groups
    ]
    kind = plan.work.kind
    totals: dict[int, Total] = {}
    num_done: dict[int, int] = {}
    progress = Progress(num_all=plan.num_outputs, num_before=sum(one.num_outputs for one in finished.values()))
    tell = _every(PROGRESS_SECONDS, say)
    for values in run_in_pool(tasks.write, items, num_workers=num_workers, say=say, work=plan.work, output=output):
        number = values["shard"]
        if "total" in values:
            totals[number] = Total(**values["total"])
            num_done[number] = totals[number].num_outputs
        else:
            num_done[number] = values["num_done"]
        num_added = sum(num_done.values())
        words = progress.at(num_added, time.monotonic())
        tell(lambda: f"{kind.done} {words}")  # noqa: B023
    return totals


class Progress:
    """How far a batch is."""

    def __init__(self, *, num_all: int, num_before: int) -> None:
        """Takes how many outputs there will be, and how many there were when this command began."""
        self._num_all, self._num_before = num_all, num_before
        self._first: tuple[int, float] | None = None

    def at(self, num_added: int, seconds: float) -> str:
        """Returns how many are done of how many; and from its second call on, the rate and the time left.

        Until the first call, workers start, and so it is from there that the rate is measured.
        """
        done = self._num_before + num_added
        words = f"{done:,} of {self._num_all:,}"
        first_added, first_seconds = self._first = self._first or (num_added, seconds)
        if num_added <= first_added or seconds <= first_seconds:
            return words
        rate = (num_added - first_added) / (seconds - first_seconds)
        return f"{words}, {rate:,.1f} a second, about {_duration((self._num_all - done) / rate)} left"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def _check_counts(plan: Plan, totals: Mapping[int, Total], output: str) -> None:
    """Makes sure that every shard has the outputs of all its rows, and stands where this machine finds it."""
    for number, shard in enumerate(plan.shards):
        total = totals.get(number, Total())
        assert (total.num_rows, total.num_outputs) == tasks.expected(shard), f"shard {number} has {total}"
    place = shards_uri(output, plan.work)
    there = {file.uri for file in storage.list_files(place)}
    missing = sum(tasks.shard_uri(output, plan.work, number) not in there for number in range(len(plan.shards)))
    if missing:
        raise UserError(
            f"{missing:,} of {len(plan.shards):,} shards are not in {place} on this machine; give an --output that all "
            "machines share, such as s3://bucket/prefix"
        )


def _result(plan: Plan, total: Total, before: Total, output: str, *, seconds: float) -> dict[str, Any]:
    kind = plan.work.kind
    return {
        "checkpoint_uri": plan.work.checkpoint_uri,
        "output_uri": output,
        f"{kind.outputs_name}_uri": shards_uri(output, plan.work),
        "shards": len(plan.shards),
        **kind.figures(total, added=total - before, seconds=seconds),
        "seconds": round(seconds, 3),
    }


def _every(seconds: float, say: Say) -> Callable[[Callable[[], str]], None]:
    """Returns what says a line at most every so many seconds."""
    said = time.monotonic()

    def tell(line: Callable[[], str]) -> None:
        nonlocal said
        if time.monotonic() - said >= seconds:
            said = time.monotonic()
            say(line())

    return tell
