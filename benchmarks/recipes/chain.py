"""Runs jobs as a user does, with `python -m jobs.NAME ...`, and reads the result from the last line."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks.environment import ROOT

Say = Callable[[str], None]


def job(name: str, *arguments: object, say: Say) -> dict[str, Any]:
    """Runs a job of this checkout to its end and returns the JSON object of its last line.

    Raises:
        RuntimeError: it failed; its stderr has been passed to `say`.
    """
    command = [sys.executable, "-m", f"jobs.{name}", *map(str, arguments)]
    say("$ python " + " ".join(command[1:]))
    # Not a pipe: nobody would read it before the end, and a job that prints much would block.
    with tempfile.TemporaryFile("w+") as stdout:
        with subprocess.Popen(command, cwd=ROOT, text=True, stdout=stdout, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            for line in process.stderr:
                say("  " + line.rstrip())
        stdout.seek(0)
        output = stdout.read()
    if process.returncode:
        raise RuntimeError(f"jobs.{name} ended with exit code {process.returncode}")
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result
