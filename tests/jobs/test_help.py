"""`--help`: every job has documented examples and names the defaults of its flags."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import jobs

ROOT = Path(jobs.__file__).resolve().parent.parent
JOBS = ("ingest", "train", "evaluate", "generate", "sweep", "serve", "probe", "classify", "find_learning_rate", "trace")


def helped(job: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Returns the output of a job's `--help`."""
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"jobs.{job}").main(["--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def examples_in(text: str) -> list[str]:
    """Returns the example commands at the end of a help text."""
    lines = text.partition("examples:\n")[2].splitlines()
    return [line.strip() for line in lines if line.startswith("  python -m ")]


@pytest.mark.parametrize("job", JOBS)
def test_the_first_example_is_in_the_documentation(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"jobs.{job}")
    words = " ".join(examples_in(helped(job, capsys))[0].split())
    assert words.startswith(f"python -m jobs.{job} --")
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    lines = [" ".join(line.split()) for document in documents for line in document.read_text().splitlines()]
    assert any(line.startswith(words) for line in lines), f"no document contains: {words}"
    assert words in " ".join((module.__doc__ or "").split()), "the module's docstring shows another command"


@pytest.mark.parametrize("job", [*JOBS, "settings"])
def test_help_teaches(job: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    text = helped(job, capsys)
    examples = examples_in(text)
    assert len(examples) >= 2
    assert "python -m jobs.settings" in text
    options = text.partition("options:\n")[2].partition("\nexamples:\n")[0]
    flags = dict(re.findall(r"^  (--[a-z-]+)(.*?)(?=^  -|\Z)", options, flags=re.MULTILINE | re.DOTALL))
    needed = set(re.findall(r"(?<!\[)(--[a-z-]+) [A-Z]+(?!\])", text.partition("\n\n")[0]))
    for flag, text in flags.items():
        assert "(default: " in text or flag in needed, f"{flag} does not say its default"
    for example in examples:
        used = re.findall(r"(?<= )--[a-z-]+", example)
        assert set(used) <= set(flags), example


@pytest.mark.parametrize("job", JOBS)
def test_a_missing_flag_ends_with_exit_code_2_and_its_name(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"jobs.{job}").main([])
    assert ended.value.code == 2
    assert re.search(r"required: --(source|windows|checkpoint|output)", capsys.readouterr().err)
