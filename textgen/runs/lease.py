"""The lease of a run: only its newest driver trains it, and an older driver ends.

The newest driver wins because a driver that is thought to be lost is replaced by giving its command again. A driver
claims the lease when its workers start, and not before, so a driver that is refused or waits for machines disturbs
nobody. The older driver finds out before it records its next validation or checkpoint, and ends without writing it.

S3 has no locks: another driver may claim the lease between a check and the write that follows it. That write still
belongs to the same run and follows the same rules.
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
"""File of a folder that lists its drivers, one JSON line each; the last one holds the lease."""


class LeaseLostError(UserError):
    """Another driver has claimed the lease since."""


def claim(uri: str, driver: str) -> None:
    """Claims the lease of a folder for a driver, unless the driver has held it before.

    Raises:
        LeaseLostError: it has, and another driver has claimed the lease since.
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
    """Checks that no other driver holds the lease of a folder.

    Raises:
        LeaseLostError: another driver does.
    """
    drivers = _drivers(uri)
    if not drivers or drivers[-1]["driver"] == driver:
        return
    newest = drivers[-1]
    raise LeaseLostError(
        f"another command claimed {uri} at {newest['since']} (process {newest['process']} on {newest['host']}), so "
        "this one has ended; let the other one continue, or give this one another name or --output"
    )


def has_held(uri: str, driver: str) -> bool:
    """Returns whether a driver has ever held the lease of a folder."""
    return driver in [one["driver"] for one in _drivers(uri)]


def _drivers(uri: str) -> list[dict[str, Any]]:
    content = storage.read_if_exists(storage.join(uri, DRIVERS_NAME)) or b""
    return [json.loads(line) for line in content.decode().splitlines()]
