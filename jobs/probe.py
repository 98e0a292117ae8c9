"""Says what a language model knows of a label that it was never told, such as the sentiment of reviews.

python -m jobs.probe --checkpoint runs/first/small --output runs/first/probe
"""

from __future__ import annotations

from jobs import summaries
from jobs.command_line import check_place, finish, import_tensorflow, job_parser, run
from jobs.progress import never_silent


def main(argv: list[str]) -> None:
    """Parses the command line, probes, prints the result."""
    parser = job_parser(
        job="probe",
        description="Reads labelled documents with a language model and learns their labels from its state: by linear "
        "probes beside TF-IDF on the same texts, from all labels and from few, and by the single unit that tells most. "
        "Writes probe.json, the unit's trace along two documents as trace.png, and the features. Needs no Ray.",
        examples=(
            "python -m jobs.probe --checkpoint runs/first/small --output runs/first/probe",
            "python -m jobs.probe --checkpoint runs/first/small --output runs/first/probe --category imdb "
            "--labels neg,pos --max-documents 500",
        ),
        takes_preset=False,
        takes_settings=False,
        needs_output=True,
    )
    parser.add_argument("--checkpoint", required=True, metavar="URI", help="a checkpoint, or a run (its best one)")
    parser.add_argument("--windows", metavar="URI", help="a manifest (default: the one the checkpoint was trained on)")
    parser.add_argument("--category", metavar="NAME", help="documents of this category alone (default: all)")
    parser.add_argument(
        "--labels", metavar="NEGATIVE,POSITIVE", help="the two labels to tell apart (default: the two that there are)"
    )
    parser.add_argument(
        "--max-documents",
        type=int,
        metavar="N",
        help="read so many documents of each split at most, taken evenly from its whole length (default: all; reading "
        "a million characters with 512 units takes two cores about a minute)",
    )
    parser.add_argument(
        "--completions",
        type=int,
        default=200,
        metavar="N",
        help="completions drawn with units held low, left alone and held high; 0 draws none (default: 200)",
    )
    arguments = parser.parse_args(argv)
    check_place(arguments.output, checkpoint=arguments.checkpoint)
    import_tensorflow()
    from textgen.probing.probe import probe  # Imports TensorFlow, which `--help` need not wait for.

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


if __name__ == "__main__":
    run(main, interrupted="no result is kept; the same command begins anew")
