"""One driver trains a run at a time, the newest: of two that were given the same run, the older one ends.

The newest, because a driver that is thought to be lost is replaced by giving its command again. A driver takes the run
when its workers begin, and not before: one that is refused, or waits for machines, disturbs nobody. The older one finds
out before its next validation or checkpoint, and ends in place of it.

S3 has no locks: between a look and the write behind it another driver may begin. What is written then is the same
run's, by the same rules.
"""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime
from typing import Any

from textgen import storage
from textgen.errors import UserError

DRIVERS_NAME = "drivers.jsonl"
"""File of a folder that says who has worked there, a line each; the last one does."""


class LeaseLostError(UserError):
    """Another driver works on the same since."""


def claim(uri: str, driver: str) -> None:
    """Makes a driver the one that works in a folder, where it has not been that before.

    Raises:
        LeaseLostError: it has, and another one does since.
    """
    if has_held(uri, driver):
        check(uri, driver)
        return
    drivers = _drivers(uri)
    since = datetime.now(UTC).isoformat(timespec="seconds")
    own = {"driver": driver, "host": socket.gethostname(), "process": os.getpid(), "since": since}
    content = "".join(json.dumps(one) + "\n" for one in (*drivers, own))
    storage.write_bytes(storage.join(uri, DRIVERS_NAME), content.encode())


def check(uri: str, driver: str) -> None:
    """Makes sure that a driver is the one that works in a folder.

    Raises:
        LeaseLostError: another one does.
    """
    drivers = _drivers(uri)
    if not drivers or drivers[-1]["driver"] == driver:
        return
    newest = drivers[-1]
    raise LeaseLostError(
        f"another command works on {uri} since {newest['since']} (process {newest['process']} on {newest['host']}), so "
        "that this one has ended; leave it to that one, or give another name or --output to this one"
    )


def has_held(uri: str, driver: str) -> bool:
    """Says whether a driver has ever been the one that works in a folder."""
    return driver in [one["driver"] for one in _drivers(uri)]


def _drivers(uri: str) -> list[dict[str, Any]]:
    content = storage.read_if_exists(storage.join(uri, DRIVERS_NAME)) or b""
    return [json.loads(line) for line in content.decode().splitlines()]
