"""Compares settings of a preset (learning rate, schedule, clipping, batch size) after the preset's number of steps.

python -m benchmarks.rates --preset demo --windows WINDOWS --result rates.json \\
    --try training.learning_rate=8e-3,1.6e-2,3.2e-2 --try training.clip_norm=1,0.3 --seeds 3

Trains every combination of the given values in this process, on one thread, and scores it on the first characters of
`val` after the last step. Each finished run is written to the result. Runs that are already there are not repeated, so
a search can be extended.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import environment
from textgen import presets
from textgen.errors import UserError
from textgen.spec import RunSpec, override

Settings = dict[str, str]


def main(argv: Sequence[str]) -> int:
    """Trains every combination and prints a table, best first."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rates", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="demo", choices=presets.PRESET_NAMES)
    parser.add_argument(
        "--windows",
        required=True,
        metavar="URI",
        help="folder of the windows, as printed by jobs.ingest, for the preset",
    )
    parser.add_argument("--result", type=Path, required=True, metavar="FILE", help="JSON file, extended if it exists")
    parser.add_argument("--try", action="append", default=[], dest="tries", metavar="SECTION.FIELD=VALUE,...")
    parser.add_argument("--seeds", type=int, default=1, help="number of trainings per combination")
    arguments = parser.parse_args(argv)
    seeds = {"training.seed": [str(seed) for seed in range(arguments.seeds)]}
    result = json.loads(arguments.result.read_text()) if arguments.result.exists() else {"runs": []}
    result = {"preset": arguments.preset, **result, **environment()}
    known = {key_of(run["settings"]) for run in result["runs"]}
    for settings in combinations({**parsed(arguments.tries), **seeds}):
        if key_of(settings) not in known:
            result["runs"].append(trained(presets.preset(arguments.preset), settings, windows=arguments.windows))
            print(json.dumps(result["runs"][-1]), file=sys.stderr, flush=True)
            arguments.result.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result["runs"]))
    return 0


def parsed(tries: Iterable[str]) -> dict[str, list[str]]:
    """Returns the values to try by field, from `section.field=value,value` on the command line."""
    values = {}
    for words in tries:
        field, equals, listed = words.partition("=")
        if not equals or not all(listed.split(",")):
            raise UserError(f"--try is {words!r}; write it as section.field=value,value")
        values[field] = listed.split(",")
    return values


def combinations(values: Mapping[str, Sequence[str]]) -> list[Settings]:
    """Returns every combination of the values, the last field changing fastest."""
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def key_of(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Returns a hashable form of settings that does not depend on their order."""
    return tuple(sorted(settings.items()))


def spec_of(spec: RunSpec, settings: Settings) -> RunSpec:
    """Returns a preset with settings that only trains, and validates once at the end."""
    changed = override(spec, settings)
    quiet = {"training.sample_temperatures": (), "training.checkpoint_every_seconds": 1e9}
    return override(changed, {**quiet, "training.validate_every_steps": changed.training.max_steps or sys.maxsize})


def trained(spec: RunSpec, settings: Settings, *, windows: str) -> dict[str, Any]:
    """Trains with the settings and returns the result."""
    from textgen.training.driver import train_here  # Loads Ray.

    started, cpu_started = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        outcome = train_here(
            spec_of(spec, settings),
            manifest_uri=windows,
            output=folder,
            run_name="rates",
            acknowledge=True,  # The windows are the caller's own, and the runs are deleted.
            num_threads=1,
            say=lambda _: None,
            report=lambda _: None,
        )
    return {
        "settings": settings,
        "val_bits_per_character": round(outcome["val_bits_per_character"], 4),
        "steps": outcome["step"],
        "cpu_seconds": round(time.process_time() - cpu_started, 1),
        "seconds": round(time.monotonic() - started, 1),
    }


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Returns a Markdown table with one row per combination, averaged over its seeds, best first."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        words = " ".join(f"{field}={value}" for field, value in run["settings"].items() if field != "training.seed")
        grouped.setdefault(words, []).append(run)
    rows = []
    for words, alike in grouped.items():
        bits = [run["val_bits_per_character"] for run in alike]
        cpu = statistics.mean(run["cpu_seconds"] for run in alike)
        rows.append((statistics.mean(bits), f"{min(bits):.3f} to {max(bits):.3f}", len(bits), cpu, words))
    lines = ["| bits on val | from, to | seeds | CPU seconds | settings |", "|---|---|---|---|---|"]
    lines += [f"| {mean:.3f} | {span} | {num} | {cpu:.0f} | {words} |" for mean, span, num, cpu, words in sorted(rows)]
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
