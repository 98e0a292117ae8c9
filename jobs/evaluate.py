"""Scores a checkpoint on a split and compares it with count models of several orders and `xz -9e`.

python -m jobs.evaluate --checkpoint runs/first/small --output runs/first/evaluation
"""

from __future__ import annotations

import argparse

from jobs import summaries
from jobs.command_line import check_place, finish, import_tensorflow, job_parser, run
from jobs.progress import never_silent
from textgen import waiting
from textgen.ray_session import connect
from textgen.windows.manifest import SPLITS


def main(argv: list[str]) -> None:
    """Runs the job with the arguments of a command line."""
    arguments = _parser().parse_args(argv)
    waiting.bound(arguments.wait_seconds)
    check_place(arguments.output, checkpoint=arguments.checkpoint)
    connect()
    import_tensorflow()
    from textgen.evaluation.baselines import ORDERS
    from textgen.evaluation.figures import evaluate  # Imports Ray Data; imported late to keep `--help` fast.

    with never_silent("reading the checkpoint and its windows") as say:
        result = evaluate(
            arguments.checkpoint,
            windows_uri=arguments.windows,
            split=arguments.split,
            count_orders=arguments.count_order or ORDERS,
            num_completions=arguments.completions,
            say=say,
        )
    finish(result, output=arguments.output, summary=summaries.of_evaluate(result, output=arguments.output))


def _parser() -> argparse.ArgumentParser:
    parser = job_parser(
        job="evaluate",
        description="Scores a checkpoint on a split. A language model gets bits per character and per byte, accuracy, "
        "and baselines for comparison; a classifier gets accuracy, macro F1, calibration, and the share of documents "
        "that it does not abstain from.",
        examples=(
            "python -m jobs.evaluate --checkpoint runs/first/small --output runs/first/evaluation",
            "python -m jobs.evaluate --checkpoint runs/first/small --split val --count-order 3 5 --completions 100",
        ),
        takes_preset=False,
        takes_settings=False,
        starts_on_ray=True,
    )
    parser.add_argument(
        "--checkpoint", required=True, metavar="URI", help="a checkpoint, or a run (its best checkpoint)"
    )
    parser.add_argument(
        "--windows",
        metavar="URI",
        help="folder of the windows to score (default: the windows that the checkpoint was trained on)",
    )
    parser.add_argument("--split", choices=SPLITS, default="test", help="split to score (default: test)")
    parser.add_argument(
        "--count-order",
        type=int,
        nargs="+",
        metavar="N",
        help="orders of the count models to compare with: characters of context, 1 to 16 (default: 3 4 5 6 7 8)",
    )
    parser.add_argument(
        "--completions",
        type=int,
        default=0,
        metavar="N",
        help="generate N completions and measure their novelty, copied passages and loops (default: 0, no completions)",
    )
    return parser


if __name__ == "__main__":
    run(main, interrupted="nothing is kept; the same command starts over")
