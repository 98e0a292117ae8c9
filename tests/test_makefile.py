"""What `make` does around the jobs: a quiet installation, and a target for each of them."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import jobs
from tests.test_repository import ROOT, make_targets

STUB = """#!/bin/sh
# Stands for a Python that is suited, whose venv has a pip that prints 40 lines.
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip install "*) i=0; while [ $i -lt 40 ]; do i=$((i + 1)); echo "Collecting package-$i"; done
    echo "ERROR: no space left" >&2; exit {code} ;;
esac
"""


def installed(folder: Path, *, code: int) -> subprocess.CompletedProcess[str]:
    """Runs `make setup` in a folder of its own, by a Python whose pip ends with a code."""
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.lock").write_text("")
    stub = folder / "stub"
    stub.write_text(STUB.replace("{code}", str(code)))
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "setup", f"PYTHON={stub}"], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_an_installation_says_two_lines_and_keeps_the_rest_in_a_log(tmp_path: Path) -> None:
    done = installed(tmp_path, code=0)
    assert done.returncode == 0, done.stderr
    before, after = done.stdout.splitlines()
    assert ".run/install.log" in before
    assert after.startswith("Installed into .venv in ")
    assert done.stderr == ""
    assert "Collecting package-40" in (tmp_path / ".run" / "install.log").read_text()
    assert (tmp_path / ".venv" / ".installed").exists()


def test_a_failed_installation_names_its_log_and_shows_the_end(tmp_path: Path) -> None:
    failed = installed(tmp_path, code=1)
    assert failed.returncode != 0
    assert "error: the installation failed; .run/install.log" in failed.stderr
    assert "ERROR: no space left" in failed.stderr
    assert "Collecting package-39" in failed.stderr
    assert "Collecting package-20\n" not in failed.stderr + failed.stdout
    assert not (tmp_path / ".venv" / ".installed").exists()


def test_every_job_has_its_target() -> None:
    found = {path.stem for path in (ROOT / "jobs").glob("*.py") if "\ndef main(" in path.read_text()}
    assert {name.replace("_", "-") for name in found} <= make_targets()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("find-learning-rate", "-m textgen.local submit -- python -m jobs.find_learning_rate --windows x"),
        ("probe", "-m textgen.local submit -- python -m jobs.probe --windows x"),
        ("classify", "bin/python -m jobs.classify --windows x"),
    ],
)
def test_a_target_gives_its_job_the_arguments(target: str, expected: str) -> None:
    command = [
        "make",
        "--dry-run",
        "--old-file",
        ".venv/.installed",
        target,
        "ARGS=--windows x",
        f"PYTHON={sys.executable}",
    ]
    shown = subprocess.run(command, cwd=Path(jobs.__file__).parents[1], capture_output=True, text=True, check=True)
    assert expected in shown.stdout
