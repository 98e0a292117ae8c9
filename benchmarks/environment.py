"""The environment of a measurement: hardware, versions, commit."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("tensorflow", "keras", "ray", "numpy", "scikit-learn")


def environment() -> dict[str, Any]:
    """Returns date, commit, hardware and versions as JSON values."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        "hardware": hardware(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def commit() -> str:
    """Returns the short hash of the checkout's commit, followed by `+` if tracked files differ from it."""
    described = _git("rev-parse", "--short", "HEAD")
    return described + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def hardware() -> str:
    """Returns a description of the machine: CPU, number of cores that this process may use, memory."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, text=True, capture_output=True, check=True).stdout.strip()


def without_places(text: str, *, data: Path) -> str:
    """Returns a result with the paths of this machine replaced, to keep it for others."""
    for folder, name in ((ROOT, "."), (data.resolve(), "data"), (ROOT.parent, "..")):
        text = text.replace(str(folder), name)
    return text
