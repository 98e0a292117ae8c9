"""Measures the gain of a second worker, the cost of sums in fixed order, and the time of a step by its size.

python -m benchmarks.scaling                # about a quarter of an hour on two cores
python -m benchmarks.scaling --only order --rounds 5

Every worker has one core and one thread, except a single worker that computes two virtual workers: it has both cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping

from benchmarks.side_by_side import Contender, Measured, measure, save

VOCAB_SIZE = 112
LENGTH = 64
SIZES = (128, 256, 512)
Rows = list[str]


def main(argv: list[str]) -> int:
    """Measures the contenders of each question and prints a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds per round")
    parser.add_argument("--only", metavar="QUESTIONS", default=",".join(QUESTIONS))
    arguments = parser.parse_args(argv)
    table: Rows = []
    details: dict[str, Mapping[str, tuple[float, ...]]] = {}

    def compared(name: str, contenders: list[Contender]) -> dict[str, Measured]:
        measured = measure(contenders, rounds=arguments.rounds, seconds=arguments.seconds)
        details[name] = {one.name: one.rates for one in measured.values()}
        return measured

    for question in arguments.only.split(","):
        table += [*QUESTIONS[question](compared), ""]
    save("scaling", table[:-1], {"rates": details})
    return 0


Compared = Callable[[str, list[Contender]], dict[str, Measured]]


def workers(compared: Compared) -> Rows:
    """Compares two workers on two cores with one worker on one core, with equal rows per worker."""
    rows = ["| units | one worker, predictions/s | two workers, predictions/s | times |", "|---|---:|---:|---:|"]
    for units in SIZES:
        contenders = [
            ours("one", units=units, rows=64),
            ours("two", units=units, rows=128, num_workers=2),
        ]
        found = compared(f"workers {units}", contenders)
        times = found["two"].median / found["one"].median
        rows.append(f"| {units} | {found['one'].words()} | {found['two'].words()} | {times:.2f} |")
    return rows


def order(compared: Compared) -> Rows:
    """Compares sums in fixed order with all-reduce: two parts of 64 rows, on one worker with both cores and on two."""
    rows = [
        "| units | workers | all_reduce, predictions/s | fixed_order, predictions/s | cost |",
        "|---|---:|---:|---:|---:|",
    ]
    for units in SIZES:
        for num_workers in (1, 2):
            threads = 2 // num_workers
            contenders = [
                ours("all_reduce", units=units, rows=128, num_workers=num_workers, num_threads=threads),
                ours(
                    "fixed_order",
                    units=units,
                    rows=128,
                    num_workers=num_workers,
                    num_threads=threads,
                    settings={"training.reduction": "fixed_order", "training.virtual_workers": 2},
                ),
            ]
            found = compared(f"order {units} x {num_workers}", contenders)
            cost = 1 - found["fixed_order"].median / found["all_reduce"].median
            words = " | ".join(found[name].words() for name in ("all_reduce", "fixed_order"))
            rows.append(f"| {units} | {num_workers} | {words} | {cost:.0%} |")
    return rows


def steps(compared: Compared) -> Rows:
    """Measures the time of a step of one worker on one core by rows, units and length."""
    rows = ["| rows | units | length | milliseconds a step | microseconds a prediction |", "|---:|---:|---:|---:|---:|"]
    base = {"rows": 64, "units": 256, "length": LENGTH}
    shapes = [{**base, "rows": n} for n in (16, 32, 64, 128)]
    shapes += [{**base, "units": n} for n in (64, 128, 512)]
    shapes += [{**base, "length": n} for n in (32, 128)]
    found = compared("steps", [ours(str(shape), **shape) for shape in shapes])  # type: ignore[arg-type]
    for shape in shapes:
        seconds = 1 / found[str(shape)].median
        milliseconds = 1e3 * seconds * shape["rows"] * shape["length"]
        rows.append(
            f"| {shape['rows']} | {shape['units']} | {shape['length']} | {milliseconds:,.1f} | {1e6 * seconds:.1f} |"
        )
    return rows


QUESTIONS: dict[str, Callable[[Compared], Rows]] = {"workers": workers, "order": order, "steps": steps}


def ours(
    name: str,
    *,
    units: int,
    rows: int,
    length: int = LENGTH,
    num_workers: int = 1,
    num_threads: int = 1,
    settings: Mapping[str, object] | None = None,
) -> Contender:
    """Returns our training step as a contender; `rows` is the total over all workers."""
    changes = {
        "model.units": units,
        "windows.context_length": length,
        "windows.stride": length,
        "training.global_batch_size": rows,
        **(settings or {}),
    }
    words = [word for field, value in changes.items() for word in ("--set", f"{field}={value}")]
    return Contender(
        name=name,
        command=(
            *("benchmarks.peers.ours", "--vocab-size", str(VOCAB_SIZE), "--threads", str(num_threads)),
            *words,
        ),
        num_processes=num_workers,
        num_threads=num_threads,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
