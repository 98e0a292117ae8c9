"""`make recipes`: its output without a corpus, which leaves an earlier result unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.recipes import __main__ as recipes
from benchmarks.recipes.table import HEADER


def test_a_missing_corpus_is_a_row_and_keeps_the_earlier_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "results"
    kept.mkdir()
    (kept / "novel.json").write_text("{}")
    monkeypatch.setattr(recipes, "RESULTS", kept)
    arguments = ["--only", "novel", "--full", "--data", str(tmp_path / "nowhere"), "--folder", str(tmp_path / "runs")]
    assert recipes.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(HEADER)] == list(HEADER)
    assert lines[-1].startswith(f"| novel | data absent: {tmp_path / 'nowhere'}")
    assert (kept / "novel.json").read_text() == "{}"


def test_an_unknown_recipe_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipes.main(["--only", "novels"]) == 2
    error = capsys.readouterr().err
    assert error == (
        "error: there is no recipe 'novels'; the recipes are tweets, novel, sentiment, finetune, reviews\n"
    )
