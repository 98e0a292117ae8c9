"""Prints the windows that a training step was trained on, and the documents that they come from.

python -m jobs.trace --checkpoint runs/first/small --step 100 --row 3
"""

from __future__ import annotations

from jobs import summaries
from jobs.command_line import check_place, finish, job_parser, run
from textgen.runs.trace import trace, trained_at
from textgen.windows.manifest import Manifest


def main(argv: list[str]) -> None:
    """Runs the job with the arguments of a command line."""
    parser = job_parser(
        job="trace",
        description="Shows the text behind an odd loss: prints the windows of a training step and the documents that "
        "they come from, for any number of workers. Needs no Ray.",
        examples=(
            "python -m jobs.trace --checkpoint runs/first/small --step 100 --row 3",
            "python -m jobs.trace --checkpoint runs/first/small --step 0 --output runs/first/trace",
        ),
        takes_preset=False,
        takes_settings=False,
    )
    parser.add_argument("--checkpoint", required=True, metavar="URI", help="a run, or one of its checkpoints")
    parser.add_argument(
        "--windows",
        metavar="URI",
        help="folder of the run's windows, if they have moved (default: the folder that the run was trained on)",
    )
    parser.add_argument("--step", type=int, required=True, metavar="N", help="number of the training step, from 0")
    parser.add_argument("--row", type=int, metavar="N", help="row of the global batch, from 0 (default: all)")
    arguments = parser.parse_args(argv)
    check_place(arguments.output)
    trained = trained_at(arguments.checkpoint)
    manifest = Manifest.load(arguments.windows or trained.manifest_uri)
    rows = trace(trained, manifest, step=arguments.step, row=arguments.row)
    for row in rows:
        names = ", ".join(document["document_id"] for document in row["documents"])
        print(f"row {row['row']}: documents {names}")
        if "text" in row:
            print(f"  window {row['window']}: {row['text']!r}")
    result = {"uri": trained.uri, "step": arguments.step, "rows": rows}
    finish(result, output=arguments.output, summary=summaries.of_trace(result))


if __name__ == "__main__":
    run(main)
