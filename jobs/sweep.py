"""Searches for the best hidden size, then the best temperature, and keeps the best checkpoint with its settings.

python -m jobs.sweep --preset tiny --windows runs/first/windows --output runs/first/sweep
"""

from __future__ import annotations

from jobs import summaries
from jobs.command_line import check_place, finish, job_parser, run, spec_on_windows
from jobs.flags import add_setting
from jobs.progress import say
from textgen import waiting
from textgen.errors import UserError
from textgen.ray_session import connect


def main(argv: list[str]) -> None:
    """Runs the job with the arguments of a command line."""
    parser = job_parser(
        job="sweep",
        description="Finds the best hidden size and sampling temperature. Trains every size in sweep.units and stops "
        "poor ones early (with one worker per trial, or on a cluster), then tries sweep.temperatures with the best "
        "model. The same command resumes an interrupted sweep.",
        examples=(
            "python -m jobs.sweep --preset tiny --windows runs/first/windows --output runs/first/sweep",
            "python -m jobs.sweep --windows runs/first/windows --output runs/first/sweep --steps 300 "
            "--set sweep.units=[64,128]",
        ),
        preset_of_windows=True,
        needs_output=True,
        starts_on_ray=True,
    )
    parser.add_argument(
        "--windows", metavar="URI", required=True, help="folder of the windows to train on, as printed by jobs.ingest"
    )
    parser.add_argument(
        "--num-workers", type=int, default=1, metavar="N", help="training workers per trial (default: 1)"
    )
    parser.add_argument(
        "--acknowledge",
        action="store_true",
        help="confirm that texts by a single person may be used, for such a corpus (corpus.single_author)",
    )
    add_setting(parser, "--steps", "training.max_steps", metavar="N", default="the preset's")
    add_setting(parser, "--seed", "training.seed", metavar="N", default="the preset's")
    arguments = parser.parse_args(argv)
    if arguments.num_workers < 1:
        raise UserError(f"--num-workers is {arguments.num_workers}; use 1 or more")
    waiting.bound(arguments.wait_seconds)
    check_place(arguments.output)
    spec = spec_on_windows(arguments)
    connect()
    from textgen.sweep.search import sweep  # Imports Ray Tune; imported late to keep `--help` fast.

    result = sweep(
        spec,
        windows_uri=arguments.windows,
        output=arguments.output,
        num_workers=arguments.num_workers,
        acknowledge=arguments.acknowledge,
        say=say,
    )
    finish(result, output=arguments.output, summary=summaries.of_sweep(result))


if __name__ == "__main__":
    run(main, interrupted="each trial keeps its last checkpoint, and the same command resumes")
