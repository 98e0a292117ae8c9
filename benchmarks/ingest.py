"""Cleaned English text per second and core: our ingest's cleaning, counting and encoding beside a plain Python loop.

python -m benchmarks.ingest
python -m benchmarks.ingest --rounds 5

Both read the CSV of the built-in film reviews and end with the ids of every document and the vocabulary. The loop does
what a script would: `csv`, regular expressions, a dictionary. One process each, on one core; Ray and storage are left
out, as they are the same for any number of cores.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.side_by_side import Contender, measure, save

GOAL = 20e6


def main(argv: list[str]) -> int:
    """Measures both side by side and prints one table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a round, at least")
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
