"""Runs a job as a user does: in its own process, on the session's Ray head."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from textgen import storage


def run_job(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m jobs.<name>` until it exits, with any exit code."""
    return subprocess.run(
        [sys.executable, "-m", f"jobs.{name}", *arguments], capture_output=True, text=True, timeout=280
    )


def result_of(finished: subprocess.CompletedProcess[str], *, output: str) -> dict[str, Any]:
    """Returns a successful job's result: the last line on stdout, the same as `result.json`."""
    assert finished.returncode == 0, finished.stderr
    last = finished.stdout.splitlines()[-1]
    assert storage.read_bytes(f"{output}/result.json").decode() == last + "\n"
    result: dict[str, Any] = json.loads(last)
    return result


def mistake_of(finished: subprocess.CompletedProcess[str]) -> str:
    """Returns the message of a job that ended with a user error."""
    assert finished.returncode == 2, finished.stderr
    assert "Traceback" not in finished.stderr
    assert finished.stdout == ""
    return finished.stderr.splitlines()[-1].removeprefix("error: ")
