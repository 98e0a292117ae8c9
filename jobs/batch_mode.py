"""The flags by which `jobs.generate` and `jobs.classify` work through files of any size by workers of Ray."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any

from jobs import summaries
from jobs.command_line import check_place, finish
from jobs.progress import never_silent
from textgen import waiting
from textgen.errors import UserError

INTERRUPTED = (
    "of a batch (--input) finished shards are kept, and the same command continues; without --input nothing is kept"
)
"""What is kept after Ctrl-C."""


def add_batch_flags(parser: argparse.ArgumentParser, *, rows: str, fields: str) -> None:
    """Adds `--input` and what belongs to it.

    Args:
        parser: of a job that has `--output` and `--wait-seconds`.
        rows: what the input holds: `prompts`.
        fields: of a row, in words.
    """
    from textgen.batch.run import ROWS_PER_SHARD

    parser.add_argument(
        "--input",
        action="append",
        metavar="URI",
        help=f"any number of {rows}, processed by Ray workers that write below --output: a file, a folder, s3:// or "
        f"'pattern/*.jsonl' of JSON lines or Parquet ({fields}) or plain text (one per line); may repeat",
    )
    parser.add_argument(
        "--num-workers",
        type=int,
        metavar="N",
        help="with --input: worker processes, each with a model and one CPU (default: one per free CPU)",
    )
    parser.add_argument(
        "--rows-per-shard",
        type=int,
        metavar="N",
        help=f"with --input: {rows} whose results are written as one file, and repeated together after a failure "
        f"(default: {ROWS_PER_SHARD})",
    )


def is_batch(arguments: argparse.Namespace, *, others: Mapping[str, Any]) -> bool:
    """Says whether a command line is that of a batch.

    Args:
        arguments: as parsed.
        others: values of the flags that give input to a single process, by flag.

    Raises:
        UserError: flags of both are given, or `--output` is missing.
    """
    if not arguments.input:
        for flag, value in (("--num-workers", arguments.num_workers), ("--rows-per-shard", arguments.rows_per_shard)):
            if value is not None:
                raise UserError(f"{flag} is {value} and there is no --input, which alone is done by workers; give both")
        return False
    both = [flag for flag, value in others.items() if value]
    if both:
        raise UserError(f"--input and {both[0]} are given; put everything into the files of --input, or leave it out")
    if arguments.output is None:
        raise UserError("--input is given without --output; name the folder or s3:// prefix for the results")
    return True


def run_batch_job(
    job: str, *, checkpoint_uri: str, settings: Mapping[str, Any], arguments: argparse.Namespace, doing: str
) -> None:
    """Does a batch, and prints its result as the last line."""
    from textgen.batch.run import ROWS_PER_SHARD, run_batch
    from textgen.batch.tasks import Work

    check_place(arguments.output, holds="batch.json")
    # Ray logs as an error, for every pool of actors, that they cannot start again once their arguments are lost; the
    # driver keeps those.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    waiting.bound(arguments.wait_seconds)
    with never_silent(doing) as told:
        result = run_batch(
            Work(job=job, checkpoint_uri=checkpoint_uri, settings=settings),
            arguments.input,
            output=arguments.output,
            rows_per_shard=ROWS_PER_SHARD if arguments.rows_per_shard is None else arguments.rows_per_shard,
            num_workers=arguments.num_workers,
            say=told,
        )
    finish(result, output=arguments.output, summary=summaries.of_batch(result))
