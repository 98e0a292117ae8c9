"""A path in a submitted job's command means the same as in the shell."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from tests.jobs.test_help import JOBS
from textgen.corpus.sources import MOVIE_REVIEWS
from textgen.local.paths import NAMES, PATH_FLAGS, with_absolute_paths

BASE = Path("/somewhere/checkout")


def submitted(arguments: str) -> list[str]:
    command = ["python", "-m", "jobs.train", *shlex.split(arguments)]
    return with_absolute_paths(command, base=BASE)[3:]


@pytest.mark.parametrize("flag", sorted(PATH_FLAGS))
@pytest.mark.parametrize("form", ["{} {}", "{}={}"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("runs/first", f"{BASE}/runs/first"),
        ("../text/*.tsv.gz", f"{BASE}/../text/*.tsv.gz"),
        ("a=b", f"{BASE}/a=b"),
        ("/data/x", "/data/x"),
        ("~/x", "~/x"),
        ("s3://bucket/x", "s3://bucket/x"),
        ("file:///x", "file:///x"),
        (MOVIE_REVIEWS, MOVIE_REVIEWS),
        ("-", "-"),
    ],
)
def test_relative_paths_are_made_absolute_and_nothing_else(flag: str, form: str, given: str, expected: str) -> None:
    words = submitted(f"--preset tiny {form.format(flag, shlex.quote(given))} --set corpus.origin=runs/x")
    assert words == ["--preset", "tiny", *form.format(flag, expected).split(" "), "--set", "corpus.origin=runs/x"]


def test_all_paths_of_a_command_are_made_absolute() -> None:
    words = submitted("--source a --source movie-reviews --source=b/*.csv --output c --run-name d --prompt e")
    assert words == shlex.split(
        f"--source {BASE}/a --source movie-reviews '--source={BASE}/b/*.csv' --output {BASE}/c --run-name d --prompt e"
    )


def test_other_commands_are_unchanged() -> None:
    command = ["python", "job.py", "--output", "here"]
    assert with_absolute_paths(command, base=BASE) == command


@pytest.mark.parametrize("job", JOBS)
def test_all_flags_for_paths_are_known(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        importlib.import_module(f"jobs.{job}").main(["--help"])
    taken = re.findall(r"^ +(--[a-z-]+) (?:URI|FILE|PATH|FOLDER)\b", capsys.readouterr().out, flags=re.MULTILINE)
    assert taken
    assert set(taken) <= PATH_FLAGS


def test_an_abbreviated_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module("jobs.train").main(["--windows", "x", "--outp", "y", "--output", "z"])
    assert ended.value.code == 2
    assert "--outp" in capsys.readouterr().err


def test_the_built_in_corpus_is_not_a_path() -> None:
    assert MOVIE_REVIEWS in NAMES
