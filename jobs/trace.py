"""Prints what a step of a training learnt from: windows, and the documents that they were cut from.

python -m jobs.trace --checkpoint runs/first/small --step 100 --row 3
"""

from __future__ import annotations

from jobs import summaries
from jobs.command_line import check_place, finish, job_parser, run
from textgen.runs.trace import trace, trained_at
from textgen.windows.manifest import Manifest


def main(argv: list[str]) -> None:
    """Parses the command line, traces, prints the result."""
    parser = job_parser(
        job="trace",
        description="Prints the windows of a step's rows and the documents behind them, whatever the number of workers "
        "was: where a loss was odd, this is the text. Needs no Ray.",
        examples=(
            "python -m jobs.trace --checkpoint runs/first/small --step 100 --row 3",
            "python -m jobs.trace --checkpoint runs/first/small --step 0 --output runs/first/trace",
        ),
        takes_preset=False,
        takes_settings=False,
    )
    parser.add_argument("--checkpoint", required=True, metavar="URI", help="a run, or a checkpoint of it")
    parser.add_argument("--windows", metavar="URI", help="where the run's windows are now (default: where they were)")
    parser.add_argument("--step", type=int, required=True, metavar="N", help="number of the step, from 0")
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
