"""Measures what a language model knows about a label that it was not trained on, such as the sentiment of reviews.

python -m jobs.probe --checkpoint runs/first/small --output runs/first/probe
"""

from __future__ import annotations

import argparse

from jobs import summaries
from jobs.command_line import check_place, finish, import_tensorflow, job_parser, run
from jobs.progress import never_silent


def main(argv: list[str]) -> None:
    """Runs the job with the arguments of a command line."""
    arguments = _parser().parse_args(argv)
    check_place(arguments.output, checkpoint=arguments.checkpoint)
    import_tensorflow()
    from textgen.probing.probe import probe  # Imports TensorFlow; imported late to keep `--help` fast.

    with never_silent("reading the checkpoint and its windows") as say:
        result = probe(
            arguments.checkpoint,
            windows_uri=arguments.windows,
            output=arguments.output,
            category=arguments.category,
            given_labels=None if arguments.labels is None else arguments.labels.split(","),
            max_documents=arguments.max_documents,
            num_completions=arguments.completions,
            say=say,
        )
    finish(result, output=arguments.output, summary=summaries.of_probe(result, output=arguments.output))


def _parser() -> argparse.ArgumentParser:
    parser = job_parser(
        job="probe",
        description="Measures what a language model knows about a label that it was not trained on. Reads labelled "
        "documents with the model and predicts the labels from its state: with linear probes, from all labels and from "
        "few, compared with TF-IDF on the same texts, and with the single most informative unit. Writes probe.json, "
        "that unit's trace over two documents (trace.png), and the features. Needs no Ray.",
        examples=(
            "python -m jobs.probe --checkpoint runs/first/small --output runs/first/probe",
            "python -m jobs.probe --checkpoint runs/first/small --output runs/first/probe --category imdb "
            "--labels neg,pos --max-documents 500",
        ),
        takes_preset=False,
        takes_settings=False,
        needs_output=True,
    )
    parser.add_argument(
        "--checkpoint", required=True, metavar="URI", help="a checkpoint, or a run (its best checkpoint)"
    )
    parser.add_argument(
        "--windows",
        metavar="URI",
        help="folder of the labelled windows (default: the windows that the checkpoint was trained on)",
    )
    parser.add_argument("--category", metavar="NAME", help="use only documents of this category (default: all)")
    parser.add_argument(
        "--labels",
        metavar="NEGATIVE,POSITIVE",
        help="the two labels to distinguish (default: the only two labels of the documents)",
    )
    parser.add_argument(
        "--max-documents",
        type=int,
        metavar="N",
        help="read at most N documents of each split, evenly spaced (default: all; reading a million characters with "
        "512 units takes about a minute on two cores)",
    )
    parser.add_argument(
        "--completions",
        type=int,
        default=200,
        metavar="N",
        help="draw N completions each with units held low, left free and held high; 0 draws none (default: 200)",
    )
    return parser


if __name__ == "__main__":
    run(main, interrupted="no result is kept; the same command starts over")
