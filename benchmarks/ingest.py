"""Measures cleaned English text per second and core: our ingest compared with a plain Python loop.

python -m benchmarks.ingest
python -m benchmarks.ingest --rounds 5

Both read the CSV file of the built-in film reviews, clean, count and encode, and produce the ids of every document and
the vocabulary. The loop does what a script would: `csv`, regular expressions, a dictionary. Each runs in one process on
one core; Ray and storage are excluded, because their cost does not depend on the number of cores.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.side_by_side import Contender, measure, save

GOAL = 20e6


def main(argv: list[str]) -> int:
    """Measures both alternately and prints a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="minimum seconds per round")
    arguments = parser.parse_args(argv)
    contenders = [
        Contender(name="ours", command=("benchmarks.peers.our_ingest",)),
        Contender(name="a plain Python loop", command=("benchmarks.peers.plain_ingest",)),
    ]
    measured = measure(contenders, rounds=arguments.rounds, seconds=arguments.seconds)
    loop = measured["a plain Python loop"].median
    table = ["| contender | MB per second and core, median (range) | times the loop |", "|---|---:|---:|"]
    table += [f"| {one.name} | {one.words(1e6, digits=1)} | {one.median / loop:.1f} |" for one in measured.values()]
    save("ingest", table, {"rates": {one.name: one.rates for one in measured.values()}, "goal": GOAL})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
