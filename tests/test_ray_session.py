"""The Ray that a job starts for itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import textgen

ALONE = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from textgen.ray_session import connect, disconnect
connect()
import ray
print("CPUs", ray.cluster_resources()["CPU"])
disconnect()
"""


@pytest.mark.ray
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs, of which one is left out")
def test_a_job_restricted_to_one_cpu_uses_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    root = Path(textgen.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.stdout == "CPUs 1.0\n", done.stderr
