"""Trains a language model or a classifier on window shards, on all GPUs of the cluster or on CPUs.

python -m jobs.train --preset tiny --windows runs/first/windows --output runs/first --run-name small
"""

from __future__ import annotations

import argparse

from jobs import summaries
from jobs.command_line import check_place, finish, job_parser, run, spec_on_windows
from jobs.flags import add_setting, settings_of
from jobs.progress import say
from textgen import storage, waiting
from textgen.outputs import check_name
from textgen.ray_session import connect
from textgen.runs.chosen_spec import run_uri_of


def main(argv: list[str]) -> None:
    """Runs the job with the arguments of a command line."""
    arguments = _parser().parse_args(argv)
    if arguments.run_name is not None:
        check_name(arguments.run_name, flag="--run-name")
    # --output may also hold the windows: this job only writes to the folder of the run.
    waiting.bound(arguments.wait_seconds)
    check_place(arguments.output, holds="manifest.json")
    spec = spec_on_windows(arguments, run_uri=run_uri_of(arguments.output, arguments.run_name))
    connect()
    from textgen.runs.lineage import source_of
    from textgen.training.driver import train  # Imports Ray Train; imported late to keep `--help` fast.

    result = train(
        spec,
        manifest_uri=arguments.windows,
        output=arguments.output,
        run_name=arguments.run_name,
        num_workers=arguments.num_workers,
        device=arguments.device,
        source=source_of(arguments.source, settings_of(arguments)),
        acknowledge=arguments.acknowledge,
        say=say,
    )
    place = storage.join(arguments.output, result["run_name"])
    finish(result, output=place, summary=summaries.of_train(result))


def _parser() -> argparse.ArgumentParser:
    parser = job_parser(
        job="train",
        description="Trains a language model on the windows that jobs.ingest wrote, or a classifier (the presets "
        "sentiment, sentiment_tweets and sentiment_finetuned, or classifier.features). The same command resumes an "
        "interrupted run from its last checkpoint; with a larger training.max_steps, it continues a finished run.",
        examples=(
            "python -m jobs.train --preset tiny --windows runs/first/windows --output runs/first --run-name small",
            "python -m jobs.train --windows runs/first/windows --output runs/first --run-name small --steps 2000",
            "python -m jobs.train --windows runs/first/windows --output runs/first --set model.units=256",
        ),
        preset_of_windows=True,
        needs_output=True,
        starts_on_ray=True,
    )
    parser.add_argument(
        "--windows", metavar="URI", required=True, help="folder of the windows, as printed by jobs.ingest"
    )
    parser.add_argument(
        "--run-name",
        metavar="NAME",
        help="name of the run's folder in --output (default: derived from the settings and the windows)",
    )
    parser.add_argument(
        "--num-workers", type=int, metavar="N", help="training workers (default: one per GPU, or one on CPUs)"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="device of each worker; gpu waits until the cluster has started enough GPUs (default: auto, GPUs if the "
        "cluster has enough)",
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="URI",
        help="fine-tune: start with the layers and weights of this checkpoint, or of a run's best one, from another "
        "corpus",
    )
    parser.add_argument(
        "--acknowledge",
        action="store_true",
        help="confirm that texts by a single person may be used; needed once per run on such a corpus "
        "(corpus.single_author)",
    )
    add_setting(parser, "--steps", "training.max_steps", metavar="N", default="the preset's")
    add_setting(parser, "--seed", "training.seed", metavar="N", default="the preset's")
    return parser


if __name__ == "__main__":
    run(main, interrupted="no step was made; earlier checkpoints are kept, and the same command resumes")
