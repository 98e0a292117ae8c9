"""Prepares a corpus for training: reads text from a bucket or folder and writes window shards and a manifest.

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
        description="Prepares a corpus for training: reads text, cleans it, splits it into train, val and test, and "
        "writes it as shards of ids with a manifest.",
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
        help="text to read: a file, a folder, an s3:// prefix, a pattern such as 'reviews/*.tsv.gz', or the built-in "
        "corpus movie-reviews; may be repeated. Formats: text, CSV, TSV, JSON, Parquet, npy and X (Twitter) archives, "
        "plain or compressed with gzip, bzip2, xz, zstd or lz4, or inside zip and tar (--set "
        "corpus.members='reviews/*.csv' selects members)",
    )
    arguments = parser.parse_args(argv)
    spec = spec_of(arguments)
    waiting.bound(arguments.wait_seconds)
    check_place(arguments.output, holds="manifest.json")
    result = ingest(arguments.source, output=arguments.output, spec=spec, say=say)
    finish(result, output=arguments.output, summary=summaries.of_ingest(result))


if __name__ == "__main__":
    run(main, interrupted="finished work is kept in --output, and the same command resumes from there")
