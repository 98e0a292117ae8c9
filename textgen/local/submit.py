"""Runs a job on the local head like `ray job submit`: uploads the checkout, streams the log, and waits."""

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
"""Each poll costs the dashboard about 30 ms of CPU, which a training on two cores needs."""
CHATTY_LOGGERS = ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")
"""They log which files are packed, and that the log has ended."""
RAY_PREAMBLE = re.compile(r"Running entrypoint for job \S+: [^\n]*\n")
"""The last line that Ray itself writes to a job's log; the job's output follows."""


def submit(
    entrypoint: Sequence[str],
    *,
    working_dir: Path | None = None,
    checkout: Checkout | None = None,
    show: Say | None = None,
) -> int:
    """Runs a command as a job of the local head and returns its exit code; starts the head if it is not running.

    Files that `.gitignore` and `.rayignore` exclude are not uploaded. Workers have the head's environment; nothing is
    added to the job's runtime environment, because everybody who can list jobs can read it.

    Args:
        entrypoint: The command and its arguments; relative paths of the project's jobs refer to the current folder.
        working_dir: The folder to upload and to run the job in; the current one by default.
        checkout: The checkout; the one of this package by default.
        show: Receives the job's log in pieces, stdout and stderr together; writes to stdout by default.

    Raises:
        UserError: the head cannot be started.
        KeyboardInterrupt: the job was interrupted and has been stopped; after a second one it may still be saving.
    """
    checkout = checkout or this_checkout()
    start_head(checkout)
    os.environ.update(ray_environment(checkout))  # Ray reads the path of its token at import.
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
        show("stopping the job; press Ctrl-C again to leave without waiting\n")
        client.stop_job(job)  # Sends SIGTERM, on which a training saves; its last lines are shown too.
        _follow(client, job, log, show)
        raise
    return _exit_code(client, job, show)


def job_name(entrypoint: Sequence[str]) -> str:
    """Returns a unique name for Ray's dashboard, such as `textgen-train-1f0c9a`."""
    verbs = [module.removeprefix("jobs.") for module in entrypoint if re.fullmatch(r"jobs\.\w+", module)]
    return "-".join(["textgen", *verbs[:1], secrets.token_hex(3)])


def _follow(client: JobSubmissionClient, job: str, log: _Log, show: Say) -> None:
    """Shows the log until the job has ended; reads its file, which is seconds faster than Ray's stream."""
    while True:
        ended = client.get_job_status(
            job
        ).is_terminal()  # Checked before reading the log, so that its end is not missed.
        if text := log.read():
            show(text)
        if ended:
            return
        time.sleep(POLL_SECONDS)


def _exit_code(client: JobSubmissionClient, job: str, show: Say) -> int:
    """Returns the exit code of a job that has ended; shows the reason if it has none."""
    info = client.get_job_info(job)
    if info.driver_exit_code is not None:
        return int(info.driver_exit_code)
    if info.status.value == "SUCCEEDED":
        return 0
    show(f"the job {info.status.value.lower()}: {info.message}\n")
    return 1


class _Log:
    """The growing log of a job, without Ray's first lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._num_read = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._preamble: str | None = ""

    def read(self) -> str:
        """Returns the job's output since the last call, which is often empty."""
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
