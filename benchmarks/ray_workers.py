"""The processes of one Ray cluster among all of a machine: what a measurement or a test kills."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil


def ray_workers(temp_dir: Path, name: str) -> list[psutil.Process]:
    """Returns the workers that are busy with what begins with `name`, of the cluster that was given this TMPDIR."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        with contextlib.suppress(psutil.Error):
            if words[0].startswith(f"ray::{name}") and process.environ().get("TMPDIR") == str(temp_dir):
                found.append(process)
    return found
