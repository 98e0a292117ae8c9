"""What `--help` teaches: every job's example is one of the documented commands."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import jobs

ROOT = Path(jobs.__file__).resolve().parent.parent
JOBS = ("ingest", "train", "evaluate", "generate", "sweep", "serve", "probe", "classify", "find_learning_rate", "trace")


@pytest.mark.parametrize("job", JOBS)
def test_help_ends_with_an_example_that_the_documents_have_too(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"jobs.{job}")
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    assert ended.value.code == 0
    example = re.search(r"example:\n  (python -m .*)", capsys.readouterr().out)
    assert example is not None
    words = " ".join(example[1].split())
    assert words.startswith(f"python -m jobs.{job} --")
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    lines = [" ".join(line.split()) for document in documents for line in document.read_text().splitlines()]
    assert any(line.startswith(words) for line in lines), f"no document has: {words}"
    assert words in " ".join((module.__doc__ or "").split()), "the file's own docstring shows another command"


@pytest.mark.parametrize("job", JOBS)
def test_a_missing_flag_ends_with_exit_code_2_and_its_name(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"jobs.{job}").main([])
    assert ended.value.code == 2
    assert re.search(r"required: --(source|windows|checkpoint|output)", capsys.readouterr().err)
