"""Ingests and trains on a small private cluster while faults are injected, and checks that the results are unchanged.

python -m tests.chaos --faults 80 --seed 0
python -m tests.chaos --storage local

The cluster has two nodes of two CPUs and a head without CPUs; the storage is S3 behind a proxy that fails on demand, or
a local disk. An ingest loses a reading worker and its driver. A training meets one fault after another, each once it
has written a new checkpoint. In the end, windows, losses and weights must equal those of undisturbed jobs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable

from tests.chaos import ingest
from tests.chaos.training import DisturbedTraining
from tests.chaos.world import World, log
from tests.faulty_s3 import none

Fault = Callable[[DisturbedTraining], None]

FAULTS: dict[str, Fault] = {
    "worker killed": DisturbedTraining.kill_worker,
    "driver killed": DisturbedTraining.kill_driver,
    "driver stopped": DisturbedTraining.stop_driver,
    "node killed": DisturbedTraining.kill_node,
    "node preempted": DisturbedTraining.drain_node,
    "S3 restarted": DisturbedTraining.restart_s3,
    "S3 fails now and then": DisturbedTraining.worsen_s3,
    "S3 stalls": DisturbedTraining.stall_s3,
}
S3_FAULTS = {kind for kind in FAULTS if kind.startswith("S3")}
STEPS_PER_FAULT = 150
"""About half of them are made between faults, the others after the last fault."""


def main() -> int:
    """Runs the jobs, and prints a table and, as the last line, one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--storage", choices=("s3", "local"), default="s3", help="storage of the jobs (default: s3)")
    parser.add_argument("--faults", type=int, help="number of faults (default: each kind once)")
    parser.add_argument("--only", metavar="KINDS", help=f"kinds of faults, separated by commas: {', '.join(FAULTS)}")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    possible = kinds_on(arguments.storage) if arguments.only is None else arguments.only.split(",")
    if unknown := set(possible) - set(kinds_on(arguments.storage)):
        parser.error(f"--only names {', '.join(sorted(unknown))}, which --storage {arguments.storage} does not support")
    kinds = drawn(possible, len(possible) if arguments.faults is None else arguments.faults, arguments.seed)
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    with World(storage=arguments.storage) as world:
        same = {"ingest": ingest.is_same(world)}
        num_steps = STEPS_PER_FAULT * len(kinds)
        alone = DisturbedTraining(world, "alone", num_steps=num_steps, seed=0, checkpoint_steps=num_steps)
        alone.start(num_workers=1)
        expected = alone.finish()
        training = DisturbedTraining(world, "disturbed", num_steps=num_steps, seed=arguments.seed)
        training.start(num_workers=2)
        for number, kind in enumerate(kinds, 1):
            training.await_progress()
            before = time.monotonic()
            FAULTS[kind](training)
            training.await_progress()
            world.set_rule(none)
            seconds[kind].append(time.monotonic() - before)
            log(f"{number}/{len(kinds)} {kind}: next checkpoint after {seconds[kind][-1]:.1f} s")
        result = training.finish()
        same |= {
            "weights": result["weights_sha256"] == expected["weights_sha256"],
            "windows and losses": training.recorded() == alone.recorded(),
            "steps": result["step"] == expected["step"] == num_steps,
        }
    print("| fault | times | seconds to the next checkpoint, median (range) |\n|---|---:|---:|")
    for kind, values in seconds.items():
        middle, low, high = statistics.median(values), min(values), max(values)
        print(f"| {kind} | {len(values)} | {middle:.1f} ({low:.1f} to {high:.1f}) |")
    print(json.dumps({"faults": len(kinds), "same": same, "seen_by_s3": dict(world.s3.seen) if world.s3 else {}}))
    return int(not all(same.values()))


def kinds_on(storage: str) -> list[str]:
    """Returns the kinds of faults that are possible on S3, or on a local disk."""
    return [kind for kind in FAULTS if storage == "s3" or kind not in S3_FAULTS]


def drawn(kinds: list[str], num_faults: int, seed: int) -> list[str]:
    """Returns `num_faults` faults in random order, each kind equally often."""
    draw = random.Random(seed)
    faults: list[str] = []
    while len(faults) < num_faults:
        faults += draw.sample(kinds, len(kinds))
    return faults[:num_faults]


if __name__ == "__main__":
    sys.exit(main())
