"""Starts, finds and stops what a checkout runs in the background, and runs jobs on it.

python -m textgen.local start-head                 starts the S3 server and the Ray head; start-s3 the first alone
python -m textgen.local submit -- python -m jobs.train --help
eval "$(python -m textgen.local env)"              then `ray job submit`, `ray status`, boto3 ... reach both
python -m textgen.local status
python -m textgen.local stop                       clean also deletes the buckets and all other files of both
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
        "start-s3": (_start_s3, "start the S3 server, if it does not run"),
        "start-head": (_start_head, "start the S3 server and the Ray head, if they do not run"),
        "stop": (_stop, "stop both, with every job"),
        "clean": (_clean, "stop both, and delete all they stored: buckets, logs, tokens, temporary files"),
        "status": (_status, "say what runs, and where"),
        "env": (_env, "print the variables that lead a shell to both"),
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
        print("S3 server: not needed, TEXTGEN_BUCKET or AWS_ENDPOINT_URL names another")


def _start_head() -> None:
    _start_s3()
    if find_head() is None:
        print("Ray head: starting ...", flush=True)
    print(f"Ray head: {start_head()}")
    print(dashboard_line())


def _stop() -> None:
    print("Ray head: stopped" if stop_head() else "Ray head: did not run")
    print("S3 server: stopped" if stop_s3() else "S3 server: did not run")


def _clean() -> None:
    _stop()
    checkout = this_checkout()
    for folder in (checkout.s3_dir, checkout.run_dir, checkout.temp_dir):
        shutil.rmtree(folder, ignore_errors=True)


def _status() -> None:
    print(f"S3 server: {find_s3() or 'does not run'}")
    print(f"Ray head: {find_head() or 'does not run'}")


def _env() -> None:
    for name, value in {**ray_environment(), **s3_environment()}.items():
        print(f"export {name}={shlex.quote(value)}")


def run(argv: Sequence[str]) -> int:
    """Runs one command as a process of its own, and returns its exit code: 130 after Ctrl-C, 143 after SIGTERM."""
    received: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)  # `make` passes it on, and the job is stopped as by Ctrl-C.
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
