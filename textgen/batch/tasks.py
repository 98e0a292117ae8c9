"""What runs on the cluster: input is examined and cut, finished shards are checked, and missing ones are written."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textgen import storage
from textgen.batch.classifying import Classification
from textgen.batch.cutting import Piece, Shard, cut, read_shards
from textgen.batch.generating import Generation
from textgen.batch.outputs import Kind, Line, Total, from_bytes, to_bytes, total_of
from textgen.batch.rows import InputFile
from textgen.model.checkpoint import Checkpoint

Item = Mapping[str, Any]
KINDS: Mapping[str, type[Generation | Classification]] = {"generate": Generation, "classify": Classification}
PROGRESS_OUTPUTS = 128
"""Outputs between two words of progress. Ray drops what a worker that it starts again repeats, so that the number of
words must not depend on time."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is done to every row."""

    job: str
    """A name of `KINDS`."""
    checkpoint_uri: str
    settings: Mapping[str, Any]
    """What decides about the outputs beside checkpoint and rows; JSON-ready."""

    @property
    def kind(self) -> Kind:
        """The work itself, whose model this process loads once.

        Raises:
            UserError: the checkpoint is not of a model for it.
        """
        return _kind(self.job, self.checkpoint_uri, json.dumps(self.settings, sort_keys=True))


@functools.lru_cache(maxsize=1)
def _kind(job: str, checkpoint_uri: str, settings: str) -> Kind:
    kind: Kind = KINDS[job](Checkpoint.load(checkpoint_uri), json.loads(settings))
    return kind


def shard_uri(output: str, work: Work, number: int) -> str:
    """Returns where the outputs of a shard stand."""
    return storage.join(shards_uri(output, work), f"part-{number:06d}.jsonl")


def shards_uri(output: str, work: Work) -> str:
    """Returns the folder or prefix of all outputs."""
    return storage.join(output, KINDS[work.job].outputs_name)


def examine(item: Item, *, work: Work, rows_per_shard: int) -> Iterator[dict[str, Any]]:
    """Cuts pieces of input, and makes sure that every row can be used.

    Raises:
        UserError: one cannot be.
    """
    for number, file, piece in item["pieces"]:
        shards, num_lines = cut(
            Piece(**piece), InputFile(**file), rows_per_shard=rows_per_shard, num_outputs=work.kind.num_outputs
        )
        yield {"piece": number, "shards": [shard.to_list() for shard in shards], "num_lines": num_lines}


def check(item: Item, *, work: Work, output: str) -> Iterator[dict[str, Any]]:
    """Adds up finished shards; `total` is None where one is not what was written."""
    for number, shard in item["shards"]:
        total = finished_total(number, Shard.from_list(shard), work=work, output=output)
        yield {"shard": number, "total": None if total is None else dataclasses.asdict(total)}


def finished_total(number: int, shard: Shard, *, work: Work, output: str) -> Total | None:
    """Returns what a shard's outputs add up to; None where they are not there, or not all of them."""
    content = storage.read_if_exists(shard_uri(output, work, number))
    lines = from_bytes(content) if content is not None else None
    try:
        total = total_of(lines, work.kind) if lines is not None else None
    except (KeyError, TypeError):
        return None
    return total if total is not None and (total.num_rows, total.num_outputs) == expected(shard) else None


def expected(shard: Shard) -> tuple[int, int]:
    """Returns how many rows a shard has, and how many outputs they make."""
    return shard.num_rows, shard.num_outputs


def write(item: Item, *, work: Work, output: str) -> Iterator[dict[str, Any]]:
    """Writes the outputs of shards of a file, each whole or not at all, and yields how far it is and their totals.

    A shard that is there is left alone: it is of a worker that was lost after it had written it.

    Raises:
        UserError: the file has changed.
    """
    file = InputFile(**item["file"])
    numbers = [number for number, _ in item["shards"]]
    shards = [Shard.from_list(values) for _, values in item["shards"]]
    for number, shard, rows in zip(numbers, shards, read_shards(file, shards), strict=True):
        total = finished_total(number, shard, work=work, output=output)
        lines: list[Line | None] = [None] * shard.num_outputs
        steps = iter(range(PROGRESS_OUTPUTS, shard.num_outputs, PROGRESS_OUTPUTS))
        step = next(steps, None)
        num_done = 0
        for chunk in work.kind.outputs(rows) if total is None else ():
            for place, line in chunk:
                lines[place] = line
            num_done += len(chunk)
            while step is not None and num_done >= step:
                yield {"shard": number, "num_done": step}
                step = next(steps, None)
        while step is not None:
            yield {"shard": number, "num_done": step}
            step = next(steps, None)
        if total is None:
            total = _written(lines, number, shard, work=work, output=output)
        yield {"shard": number, "total": dataclasses.asdict(total)}


def _written(lines: Sequence[Line | None], number: int, shard: Shard, *, work: Work, output: str) -> Total:
    whole = [line for line in lines if line is not None]
    total = total_of(whole, work.kind)
    assert (total.num_rows, total.num_outputs) == expected(shard), "every row makes its outputs"
    storage.write_bytes(shard_uri(output, work, number), to_bytes(whole))
    return total
