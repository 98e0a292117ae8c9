"""Reads text from a bucket or folder and writes window shards and a manifest, for training.

python -m jobs.ingest --source movie-reviews --preset tiny --output runs/first/windows
"""

from __future__ import annotations

from jobs import summaries
from jobs.command_line import check_place, finish, job_parser, run, spec_of
from jobs.progress import say
from textgen import waiting
from textgen.ingest.pipeline import ingest


def main(argv: list[str]) -> None:
    """Runs the job with the arguments of a command line."""
    parser = job_parser(
        job="ingest",
        description="Reads text, cleans it, splits it, and writes it once as ids: window shards and a manifest.",
        examples=(
            "python -m jobs.ingest --source movie-reviews --preset tiny --output runs/first/windows",
            "python -m jobs.ingest --source 's3://bucket/reviews/*.json.gz' --output s3://bucket/windows",
            "python -m jobs.ingest --source tweets.csv --preset tweets_best --output runs/tweets/windows "
            "--set corpus.encoding=cp1252",
        ),
        needs_output=True,
        starts_on_ray=True,
    )
    parser.add_argument(
        "--source",
        action="append",
        required=True,
        metavar="URI",
        help="a file, folder, s3:// prefix or 'pattern/*.tsv.gz', or the built-in corpus movie-reviews; may repeat. "
        "Text, CSV, TSV, JSON, Parquet, npy and archives of X are read, packed by gzip, bzip2, xz, zstd or lz4 or in "
        "zip and tar (--set corpus.members='reviews/*.csv' chooses members)",
    )
    arguments = parser.parse_args(argv)
    spec = spec_of(arguments)
    waiting.bound(arguments.wait_seconds)
    check_place(arguments.output, holds="manifest.json")
    result = ingest(arguments.source, output=arguments.output, spec=spec, say=say)
    finish(result, output=arguments.output, summary=summaries.of_ingest(result))


if __name__ == "__main__":
    run(main, interrupted="what was read stays in --output, and the same command goes on from there")
