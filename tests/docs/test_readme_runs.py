"""README's commands for the user's own text run verbatim, in README's order."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.docs.pages import ROOT, commands, read

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

SERVER = "jobs.serve"
"""Runs until Ctrl-C: `tests/jobs/test_serve.py` starts and ends it."""
WORDS = ("the", "a", "sea", "ship", "man", "cold", "wind", "night", "saw", "old", "white", "ice", "and", "far", "home")


def write_sources(folder: Path) -> None:
    """Writes the files that README calls tweets.csv, in an old Windows encoding, and book.txt."""
    rng = np.random.default_rng(0)

    def sentence(num_words: int) -> str:
        return " ".join(rng.choice(WORDS, num_words).tolist()).capitalize() + "."

    tweets = "".join(f'{number},"“{sentence(9)}”"\n' for number in range(300))
    (folder / "tweets.csv").write_bytes(f"id,text\n{tweets}".encode("cp1252"))
    (folder / "book.txt").write_text("\n\n".join(" ".join(sentence(12) for _ in range(4)) for _ in range(90)))


def readme_commands() -> list[str]:
    """Returns README's commands without those for a cluster and the server."""
    found = commands(read("README.md"), of=r"jobs\.")
    return [one for one in found if "s3://" not in one and SERVER not in one and "jobs.settings" not in one]


def test_readme_names_every_job_that_runs_here() -> None:
    jobs = {re.match(r"python -m jobs\.(\w+)", one)[1] for one in readme_commands()}  # type: ignore[index]
    assert jobs == {"ingest", "train", "generate", "evaluate", "sweep", "probe", "find_learning_rate", "trace"}


@pytest.mark.timeout(900)
def test_readme_s_commands_run_in_its_order(tmp_path: Path) -> None:
    write_sources(tmp_path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(ROOT), "TEXTGEN_CACHE_DIR": str(tmp_path / "cache")}
    for command in readme_commands():
        words = [sys.executable, *shlex.split(command)[1:]]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        last = json.loads(done.stdout.splitlines()[-1])
        assert last, command
    for place in ("first/small/MODEL_CARD.md", "tweets/run/best.json", "book/first/best.json", "first/sweep/best"):
        assert (tmp_path / "runs" / place).exists()
