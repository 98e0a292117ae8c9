"""Suggests a learning rate from the loss while the rate rises, as a table and a plot; needs no Ray.

python -m jobs.find_learning_rate --preset tiny --windows runs/first/windows --output runs/first/rates
"""

from __future__ import annotations

import argparse
import time

from jobs import summaries
from jobs.command_line import check_place, finish, import_tensorflow, job_parser, run, spec_on_windows
from jobs.flags import settings_of
from jobs.progress import never_silent
from textgen import storage


def main(argv: list[str]) -> None:
    """Runs the job with the arguments of a command line."""
    parser = job_parser(
        job="find_learning_rate",
        description="Suggests a learning rate. Trains a copy of the initial weights while the learning rate rises, and "
        "suggests a tenth of the rate at the lowest smoothed loss. Accepts the settings of jobs.train; changes no run.",
        examples=(
            "python -m jobs.find_learning_rate --preset tiny --windows runs/first/windows --output runs/first/rates",
            "python -m jobs.find_learning_rate --windows runs/first/windows --output runs/first/rates --steps 200 "
            "--set model.units=256",
        ),
        preset_of_windows=True,
        needs_output=True,
    )
    parser.add_argument(
        "--windows", metavar="URI", required=True, help="folder of the windows to train on, as printed by jobs.ingest"
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="URI",
        help="checkpoint, or run, that the training will fine-tune",
    )
    parser.add_argument(
        "--steps", type=int, default=100, metavar="N", help="training steps of the ramp, at least 10 (default: 100)"
    )
    arguments = parser.parse_args(argv)
    if arguments.steps < 10:
        parser.error(f"--steps is {arguments.steps}; use 10 or more")
    check_place(arguments.output)
    spec = spec_on_windows(arguments)
    import_tensorflow()
    from textgen.runs.lineage import source_of
    from textgen.training.rate_finder import find_learning_rate, plot

    started = time.monotonic()
    with never_silent("building the model") as say:
        found = find_learning_rate(
            spec,
            manifest_uri=arguments.windows,
            source=source_of(arguments.source, settings_of(arguments)),
            num_steps=arguments.steps,
            say=say,
        )
    picture = storage.join(arguments.output, "learning_rates.png")
    storage.write_bytes(picture, plot(found))
    result = {**found, "plot_uri": picture, "seconds": round(time.monotonic() - started, 1)}
    summary = summaries.of_find_learning_rate(result, windows=arguments.windows, words=_words(arguments))
    finish(result, output=arguments.output, summary=summary)


def _words(arguments: argparse.Namespace) -> list[str]:
    """Returns the flags of this command that the training command also needs."""
    given = {"--preset": arguments.preset, "--from": arguments.source}
    words = [word for flag, value in given.items() if value is not None for word in (flag, value)]
    settings = {name: value for name, value in settings_of(arguments).items() if name != "training.learning_rate"}
    return words + [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


if __name__ == "__main__":
    run(main, interrupted="nothing is kept; the same command starts over")
