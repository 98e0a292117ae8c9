"""One driver trains a run at a time, the newest: of two that were given the same run, the older one ends.

The newest, because a driver that is thought to be lost is replaced by giving its command again. The older one finds out
before its next validation or checkpoint, and writes neither.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from datetime import UTC, datetime

from textgen import storage
from textgen.errors import UserError

DRIVER_NAME = "driver.json"
"""File of a run's folder that says who trains it."""


class TakenOverError(UserError):
    """A run is trained by another driver since."""


def take_over(run_uri: str) -> str:
    """Writes down a new driver of a run and returns its name."""
    name = secrets.token_hex(8)
    content = {
        "driver": name,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    storage.write_bytes(storage.join(run_uri, DRIVER_NAME), json.dumps(content).encode())
    return name


def check_driver(run_uri: str, driver: str | None) -> None:
    """Makes sure that nobody but `driver` trains a run; None stands for one that has it to itself.

    Raises:
        TakenOverError: somebody does.
    """
    if driver is None:
        return
    found = json.loads(storage.read_bytes(storage.join(run_uri, DRIVER_NAME)))
    if found["driver"] != driver:
        raise TakenOverError(
            f"the run {run_uri} is trained by another command since {found['since']} (process {found['process']} "
            f"on {found['host']}), so that this one has ended; nothing is to be done, or give this one a --run-name of "
            "its own"
        )
