"""Starts, finds and stops the local S3 server and Ray head of a checkout, and runs jobs on them.

python -m textgen.local start-head                 starts both; start-s3 starts only the S3 server
python -m textgen.local submit -- python -m jobs.train --help
eval "$(python -m textgen.local env)"              lets `ray job submit`, `ray status`, boto3 ... use both
python -m textgen.local status
python -m textgen.local stop                       stops both; clean also deletes the buckets and all other files
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from textgen.errors import UserError
from textgen.local.checkout import this_checkout
from textgen.local.head import dashboard_line, find_head, ray_environment, start_head, stop_head
from textgen.local.s3 import bucket_uri, find_s3, s3_environment, start_s3, stop_s3, uses_embedded_s3
from textgen.local.submit import submit


def main(argv: Sequence[str]) -> int:
    """Runs one command and returns its exit code."""
    commands: dict[str, tuple[Callable[[], None], str]] = {
        "start-s3": (_start_s3, "start the S3 server, unless it is running"),
        "start-head": (_start_head, "start the S3 server and the Ray head, unless they are running"),
        "stop": (_stop, "stop both, and all jobs"),
        "clean": (_clean, "stop both, and delete their files: buckets, logs, tokens, temporary files"),
        "status": (_status, "print the addresses of both"),
        "env": (_env, "print the environment variables that let a shell use both"),
    }
    parser = argparse.ArgumentParser(
        prog="python -m textgen.local", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, help_text) in commands.items():
        subparsers.add_parser(name, help=help_text, description=help_text)
    submitting = subparsers.add_parser("submit", help="run a command as a job: submit -- python -m jobs.train ...")
    submitting.add_argument("entrypoint", nargs="+", metavar="WORD", help="the command, after --")
    arguments = parser.parse_args(argv)
    if arguments.command == "submit":
        return submit(arguments.entrypoint)
    commands[arguments.command][0]()
    return 0


def _start_s3() -> None:
    if uses_embedded_s3():
        print(f"S3 server: {start_s3()}, bucket {bucket_uri()}")
    else:
        print("S3 server: not needed, TEXTGEN_BUCKET or AWS_ENDPOINT_URL selects another S3")


def _start_head() -> None:
    _start_s3()
    if find_head() is None:
        print("Ray head: starting ...", flush=True)
    print(f"Ray head: {start_head()}")
    print(dashboard_line())


def _stop() -> None:
    print("Ray head: stopped" if stop_head() else "Ray head: was not running")
    print("S3 server: stopped" if stop_s3() else "S3 server: was not running")


def _clean() -> None:
    _stop()
    checkout = this_checkout()
    for folder in (checkout.s3_dir, checkout.run_dir, checkout.temp_dir):
        shutil.rmtree(folder, ignore_errors=True)


def _status() -> None:
    print(f"S3 server: {find_s3() or 'not running'}")
    print(f"Ray head: {find_head() or 'not running'}")


def _env() -> None:
    for name, value in {**ray_environment(), **s3_environment()}.items():
        print(f"export {name}={shlex.quote(value)}")


def run(argv: Sequence[str]) -> int:
    """Runs one command as the main program and returns its exit code: 130 after Ctrl-C, 143 after SIGTERM."""
    received: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)  # `make` forwards SIGTERM; it stops the job like Ctrl-C.
    try:
        return main(argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + (received or [signal.SIGINT])[0]
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
