"""Runs a job on the local head as `ray job submit` would: uploads the checkout, streams the log, waits."""

from __future__ import annotations

import codecs
import logging
import os
import re
import secrets
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textgen.local.checkout import Checkout, this_checkout
from textgen.local.head import ray_environment, start_head
from textgen.local.paths import with_absolute_paths
from textgen.progress import Say

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

POLL_SECONDS = 1.0
"""Each poll costs the dashboard some 30 ms of CPU, which a training on two cores can use better."""
CHATTY_LOGGERS = ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")
"""They tell which files are packed, and that the log has ended."""
RAY_PREAMBLE = re.compile(r"Running entrypoint for job \S+: [^\n]*\n")
"""The last of the lines with which Ray begins a job's log; what the job prints follows."""


def submit(
    entrypoint: Sequence[str],
    *,
    working_dir: Path | None = None,
    checkout: Checkout | None = None,
    show: Say | None = None,
) -> int:
    """Runs a command as a job of the local head, which is started if it does not run, and returns its exit code.

    Files that `.gitignore` and `.rayignore` name are not uploaded. The workers have the head's environment; nothing
    is added to the job's runtime environment, which anybody who may list jobs can read.

    Args:
        entrypoint: The command and its arguments; relative paths of the project's jobs are those of this folder.
        working_dir: The folder that is uploaded and that the job runs in; the current one by default.
        checkout: Whose head; the one of this package by default.
        show: Is given the job's log piece by piece, stdout and stderr in one; writes to stdout by default.

    Raises:
        UserError: the head cannot be started.
        KeyboardInterrupt: the job was interrupted, and has been stopped; at a second interrupt it may still save.
    """
    checkout = checkout or this_checkout()
    start_head(checkout)
    os.environ.update(ray_environment(checkout))  # Ray reads its token's place and mode when it is imported.
    from ray.job_submission import JobSubmissionClient

    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    client = JobSubmissionClient(os.environ["RAY_API_SERVER_ADDRESS"])
    job = client.submit_job(
        entrypoint=shlex.join(with_absolute_paths(entrypoint, base=Path.cwd())),
        runtime_env={"working_dir": str(working_dir or Path.cwd())},
        submission_id=job_name(entrypoint),
    )
    log_path = checkout.temp_dir / "ray" / "session_latest" / "logs" / f"job-driver-{job}.log"
    log = _Log(log_path)
    show = show or _print
    try:
        _follow(client, job, log, show)
    except KeyboardInterrupt:
        show("stopping the job; Ctrl-C again leaves it to end by itself\n")
        client.stop_job(job)  # By SIGTERM, at which a training saves; what it says of that is shown too.
        _follow(client, job, log, show)
        raise
    return _exit_code(client, job, show)


def job_name(entrypoint: Sequence[str]) -> str:
    """Returns a name for Ray's dashboard, such as `textgen-train-1f0c9a`, that no other job has."""
    verbs = [module.removeprefix("jobs.") for module in entrypoint if re.fullmatch(r"jobs\.\w+", module)]
    return "-".join(["textgen", *verbs[:1], secrets.token_hex(3)])


def _follow(client: JobSubmissionClient, job: str, log: _Log, show: Say) -> None:
    """Shows the log until the job has ended: from its file, which is seconds faster than Ray's stream."""
    while True:
        ended = client.get_job_status(job).is_terminal()  # Before the log, so that its end is not missed.
        if text := log.read():
            show(text)
        if ended:
            return
        time.sleep(POLL_SECONDS)


def _exit_code(client: JobSubmissionClient, job: str, show: Say) -> int:
    """Returns the exit code of a job that has ended, and shows why where it has none."""
    info = client.get_job_info(job)
    if info.driver_exit_code is not None:
        return int(info.driver_exit_code)
    if info.status.value == "SUCCEEDED":
        return 0
    show(f"the job {info.status.value.lower()}: {info.message}\n")
    return 1


class _Log:
    """A job's log as it grows, without Ray's first lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._num_read = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._preamble: str | None = ""

    def read(self) -> str:
        """Returns what the job has printed since the last call, often nothing."""
        if not self._path.exists():
            return ""
        with open(self._path, "rb") as stream:
            stream.seek(self._num_read)
            content = stream.read()
        self._num_read += len(content)
        text = self._decoder.decode(content)
        if self._preamble is not None:
            self._preamble += text
            match = RAY_PREAMBLE.search(self._preamble)
            text = self._preamble[match.end() :] if match else ""
            self._preamble = None if match else self._preamble
        return text


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
