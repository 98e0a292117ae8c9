"""Ctrl-C at a job that started its own Ray: the signal reaches every process of the terminal, and nothing is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.written_windows import tiny_spec, written_manifest
from textgen.model.checkpoint import latest_checkpoint

pytestmark = [pytest.mark.ray, pytest.mark.tensorflow]


def test_a_training_at_a_terminal_is_saved(tmp_path: Path) -> None:
    texts = [f"the cat sat {number % 7} times" for number in range(60)]
    manifest = written_manifest(
        str(tmp_path / "windows"), {"train": texts, "val": texts[:7], "test": texts[:5]}, spec=tiny_spec()
    )
    settings = {
        "model.units": 6,
        "windows.context_length": 7,
        "windows.stride": 7,
        "training.max_steps": 100_000,
        "training.validate_every_steps": 50,
        "training.sample_temperatures": "",
    }
    command = [sys.executable, "-m", "jobs.train", "--preset", "tiny", "--windows", manifest.uri]
    command += ["--output", str(tmp_path), "--run-name", "run"]
    command += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    assert process.stderr is not None
    assert process.stdout is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("step 50 "):
            os.killpg(process.pid, signal.SIGINT)  # As a terminal does: Ray's processes belong to the same group.
    assert process.wait() == 130, "".join(said)
    found = re.fullmatch(r"run: saved step ([\d,]+); the same command resumes\n", said[-1])
    assert found, "".join(said)
    saved = latest_checkpoint(str(tmp_path / "run"))
    assert saved is not None
    assert f"{saved.step:,}" == found[1]
    assert "Traceback" not in "".join(said)
    assert process.stdout.read() == ""
    process.stdout.close()
    process.stderr.close()
