"""The table of recipes: its format, and that the documented table shows the full-length results."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.environment import ROOT
from benchmarks.recipes.result import Figure, RecipeResult
from benchmarks.recipes.table import HEADER, RESULTS, absent_row, saved, table


def result(recipe: str = "tweets") -> RecipeResult:
    figures = (
        Figure(name="bits", published="0.42", faithful=2.5, best=1.23456),
        Figure(name="speed", best=12345.6, better="higher"),
    )
    return RecipeResult(recipe=recipe, figures=figures, seconds=1234.5, scale=0.5)


def test_each_figure_is_a_row_and_the_first_shows_the_seconds() -> None:
    assert table([result().to_dict()]).splitlines() == [
        *HEADER,
        "| tweets | bits | 0.42 | 2.5 | 1.235 | 1,234 |",
        "| tweets | speed | none |  | 12,346 |  |",
    ]


def test_a_missing_corpus_has_its_own_row() -> None:
    assert absent_row("novel", "../data/novel.txt").startswith("| novel | data absent: ../data/novel.txt |")


def test_results_are_read_in_the_order_of_the_recipes(tmp_path: Path) -> None:
    for name in ("reviews", "tweets"):
        (tmp_path / f"{name}.json").write_text(json.dumps(result(name).to_dict()))
    assert [found["recipe"] for found in saved(tmp_path)] == ["tweets", "reviews"]


def test_the_documents_show_the_results_of_full_length() -> None:
    assert saved()
    assert table(saved()) in (ROOT / "docs" / "recipes.md").read_text()


def test_a_result_records_how_it_was_made() -> None:
    for path in RESULTS.glob("*.json"):
        content = json.loads(path.read_text())
        assert content.get("scale", 1.0) == 1.0
        assert all(content[name] for name in ("command", "commit", "hardware", "date", "versions"))
