"""Every command of the documents names a job, flags that it has, and settings that a spec takes."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, commands, read
from tests.jobs.test_help import JOBS, helped
from tests.test_repository import make_targets
from textgen import presets
from textgen.settings import parse_settings
from textgen.spec import RunSpec, override


def flags_of(job: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Returns the flags that a job's help lists."""
    return set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", helped(job, capsys), flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_commands_name_jobs_flags_and_settings_that_exist(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(read(page), of=r"jobs\."):
        if "..." in command or "jobs.X" in command:
            continue
        words = shlex.split(command)
        job = words[2].removeprefix("jobs.")
        assert (ROOT / "jobs" / f"{job}.py").exists(), command
        if job not in (*JOBS, "settings"):
            continue
        used = {word.partition("=")[0] for word in words[3:] if re.match("--[a-z]", word)}
        assert used <= flags_of(job, capsys), command
        values = dict(itertools.pairwise(words))
        preset = values.get("--preset")
        spec = presets.preset(preset) if preset is not None else RunSpec(preset="")
        settings = [after for word, after in itertools.pairwise(words) if word == "--set"]
        override(spec, parse_settings(settings))


@pytest.mark.parametrize("page", PAGES)
def test_other_modules_exist(page: str) -> None:
    for command in commands(read(page), of=r"(?:benchmarks|tests|textgen)\b"):
        module = Path(ROOT, *command.split()[2].rstrip(".,:").split("."))
        assert module.with_suffix(".py").exists() or (module / "__main__.py").exists(), command


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    named = set(re.findall(r"(?:^ {4}|`)make ([a-z][a-z0-9-]*)", read(page), flags=re.MULTILINE))
    assert named <= make_targets()


def test_commands_are_read_over_continued_lines() -> None:
    text = "    python -m jobs.train --a 1 \\\n        --b 2\n\n`python -m jobs.ingest` and python -m jobs.x > file\n"
    assert commands(text, of=r"jobs\.") == [
        "python -m jobs.train --a 1 --b 2",
        "python -m jobs.ingest",
        "python -m jobs.x",
    ]
