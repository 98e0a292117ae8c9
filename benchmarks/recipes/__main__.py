"""Runs the five published recipes, faithfully and in our own version, and prints a table.

make recipes                                        # all, in short form: at most 45 minutes on two cores
python -m benchmarks.recipes --only tweets,novel    # some of them
python -m benchmarks.recipes --full --only reviews  # full length; writes benchmarks/results/reviews.json

The same command resumes an interrupted run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.environment import ROOT, environment, without_places
from benchmarks.recipes.result import DataAbsentError
from benchmarks.recipes.table import RECIPES, RESULTS, absent_row, table

SHORT_SCALES = {"tweets": 0.02, "novel": 0.004, "sentiment": 0.02, "finetune": 0.02, "reviews": 0.02}
"""Share of a recipe's full length in the short form; sentiment and finetune start from the models of reviews."""
DATA = ROOT.parent / "shared" / "data"


def main(argv: list[str]) -> int:
    """Runs the requested recipes, each in its own process, and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="NAMES", default=",".join(RECIPES), help="recipes, separated by commas")
    parser.add_argument("--full", action="store_true", help="full length (hours); updates the published results")
    parser.add_argument(
        "--data", metavar="FOLDER", type=Path, default=DATA, help="folder of the corpora that are not in packages"
    )
    parser.add_argument(
        "--folder", metavar="FOLDER", type=Path, default=ROOT / "runs" / "recipes", help="folder of the runs"
    )
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    names = arguments.only.split(",")
    unknown = sorted(set(names) - set(RECIPES))
    if unknown:
        print(f"error: there is no recipe {unknown[0]!r}; the recipes are {', '.join(RECIPES)}", file=sys.stderr)
        return 2
    if arguments.in_process:
        run_here(names[0], arguments)
        return 0
    failed = False
    rows: list[str] = []
    for name in names:
        outcome = run_apart(name, arguments)
        failed |= outcome is None
        rows += [f"| {name} | failed: see above |  |  |  |  |"] if outcome is None else outcome
    print("\n".join([*table([]).splitlines(), *rows]))
    return int(failed)


def run_apart(name: str, arguments: argparse.Namespace) -> list[str] | None:
    """Runs a recipe in its own process and returns its rows, or None if it failed."""
    place = result_path(name, arguments)
    place.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.recipes", "--in-process", "--only", name]
    command += ["--data", str(arguments.data), "--folder", str(arguments.folder)] + ["--full"] * arguments.full
    if subprocess.run(command, cwd=ROOT).returncode or not place.exists():
        return None
    result = json.loads(place.read_text())
    if arguments.full and "absent" not in result:
        shutil.copy(place, RESULTS)
    return [absent_row(name, result["absent"])] if "absent" in result else table([result]).splitlines()[2:]


def run_here(name: str, arguments: argparse.Namespace) -> None:
    """Runs a recipe in this process and writes its result."""

    def say(line: str) -> None:
        print(f"{name}: {line}", file=sys.stderr, flush=True)

    place = result_path(name, arguments)
    place.parent.mkdir(parents=True, exist_ok=True)
    module = importlib.import_module(f"benchmarks.recipes.{name}")
    folder = arguments.folder / ("full" if arguments.full else "short") / name
    folder.mkdir(parents=True, exist_ok=True)
    command = f"python -m benchmarks.recipes --only {name}" + " --full" * arguments.full
    try:
        result = module.run(
            folder, data=arguments.data, scale=1.0 if arguments.full else SHORT_SCALES[name], say=say
        ).to_dict()
    except DataAbsentError as error:
        result = {"absent": str(error)}
    content = json.dumps({**result, "command": command, **environment()}, ensure_ascii=False, indent=1) + "\n"
    if arguments.full and "absent" not in result:  # Published, so without paths of this machine.
        content = without_places(content, data=arguments.data)
    place.write_text(content)


def result_path(name: str, arguments: argparse.Namespace) -> Path:
    """Returns the path of a run's result; full-length results are then copied to `benchmarks/results`."""
    return Path(arguments.folder) / ("full" if arguments.full else "short") / f"{name}.json"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
