"""Loads the results of recipes and formats them as a table.

`python -m benchmarks.tables` writes it into docs/recipes.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT

RESULTS = ROOT / "benchmarks" / "results"
RECIPES = ("tweets", "novel", "sentiment", "finetune", "reviews")
HEADER = ("| recipe | figure | published | faithful | ours | seconds |", "|---|---|---|---|---|---|")


def saved(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Returns the results in a folder, in the order of the recipes."""
    paths = [folder / f"{name}.json" for name in RECIPES]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def table(results: Iterable[Mapping[str, Any]]) -> str:
    """Returns a Markdown table with one row per figure; the first row of a recipe shows its seconds."""
    lines = list(HEADER)
    for result in results:
        for index, figure in enumerate(result["figures"]):
            cells = (
                result["recipe"],
                figure["name"],
                figure["published"] or "none",
                _number(figure["faithful"]),
                _number(figure["best"]),
                f"{result['seconds']:,.0f}" if index == 0 else "",
            )
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def absent_row(recipe: str, reason: str) -> str:
    """Returns the row of a recipe whose corpus is missing on this machine."""
    return f"| {recipe} | data absent: {reason} |  |  |  |  |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}".rstrip("0").rstrip(".") if value != int(value) else f"{value:.0f}"
