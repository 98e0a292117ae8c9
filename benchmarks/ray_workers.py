"""Finds the worker processes of a Ray cluster, for a measurement or a test that kills them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil


def ray_workers(temp_dir: Path, name: str) -> list[psutil.Process]:
    """Returns the workers of the cluster with this TMPDIR that run a task or actor whose name starts with `name`."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        with contextlib.suppress(psutil.Error):
            if words[0].startswith(f"ray::{name}") and process.environ().get("TMPDIR") == str(temp_dir):
                found.append(process)
    return found
