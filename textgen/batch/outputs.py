"""What both kinds of work share: the form of their lines, what lines add up to, and how TensorFlow is set up."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from textgen.batch.rows import Row, Values

Line = dict[str, Any]
Lines = Sequence[Mapping[str, Any]]
Output = tuple[int, Line]
"""A line, behind its place among all of a shard."""
FILE_FIELD, ROW_FIELD = "input_file", "input_row"
NUM_THREADS = 2
"""TensorFlow's threads in a worker; with fewer, results may be rounded differently (`generation.loop`)."""


@dataclass(frozen=True, kw_only=True)
class Total:
    """What lines of output add up to."""

    num_rows: int = 0
    """Rows of input that they come from."""
    num_outputs: int = 0
    amounts: Mapping[str, int] = field(default_factory=dict)
    """What else is counted, by name."""

    def __sub__(self, other: Total) -> Total:
        """Returns the difference."""
        return self + Total(
            num_rows=-other.num_rows,
            num_outputs=-other.num_outputs,
            amounts={name: -amount for name, amount in other.amounts.items()},
        )

    def __add__(self, other: Total) -> Total:
        """Returns the sum."""
        return Total(
            num_rows=self.num_rows + other.num_rows,
            num_outputs=self.num_outputs + other.num_outputs,
            amounts={
                name: self.amounts.get(name, 0) + other.amounts.get(name, 0)
                for name in {**self.amounts, **other.amounts}
            },
        )


class Kind(Protocol):
    """Work on rows: `generating.Generation` or `classifying.Classification`."""

    outputs_name: str
    """What it makes of rows, and the folder of its shards: `completions`."""
    done: str
    """What has been done to outputs: `completed`."""

    def num_outputs(self, values: Values) -> int:
        """Returns how many lines a row makes, one at least, or raises a `UserError`."""

    def outputs(self, rows: Sequence[Row]) -> Iterator[list[Output]]:
        """Yields the lines of rows as they are finished, each behind its place among all."""

    @staticmethod
    def amounts(lines: Lines) -> dict[str, int]:
        """Returns what is counted of lines beside themselves, by name."""

    @staticmethod
    def figures(total: Total, *, added: Total, seconds: float) -> dict[str, Any]:
        """Returns what a job's result says of all outputs, and of those that it added."""


def beside(row: Row, others: Mapping[str, Any], *, own: Set[str]) -> Line:
    """Returns where a row stands and what stood beside its text: `x` as `given_x` where the output has its own `x`."""
    line: Line = {FILE_FIELD: row.uri, ROW_FIELD: row.number}
    for name, value in others.items():
        free = name
        while free in own or free in line or (free != name and free in others):
            free = f"given_{free}"
        line[free] = value
    return line


def total_of(lines: Lines, kind: Kind) -> Total:
    """Returns what the lines of a shard add up to."""
    num_rows = len({line[ROW_FIELD] for line in lines})
    return Total(num_rows=num_rows, num_outputs=len(lines), amounts=kind.amounts(lines))


def to_bytes(lines: Lines) -> bytes:
    """Returns lines as a file of JSON lines; what JSON has no form for, such as a date, as its text."""
    return "".join(json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in lines).encode()


def from_bytes(content: bytes) -> list[Line] | None:
    """Returns the lines of a file; None where it is not what `to_bytes` gives."""
    try:
        return [json.loads(line) for line in content.decode().removesuffix("\n").split("\n")]
    except ValueError:
        return None


def prepare_tensorflow() -> None:
    """Sets TensorFlow up in a worker: it reserves a CPU, and Ray does not hide the GPUs that it has not reserved."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # A process that has computed already keeps what it was set to.
        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(NUM_THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(1)
