"""The measured tables of the documents, written from the results that are kept in benchmarks/results.

python -m benchmarks.tables    # rewrites what stands between `<!-- table: NAME -->` and `<!-- end -->` in docs/*.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.recipes.table import RESULTS, saved, table

DOCS = ROOT / "docs"
MARKED = re.compile(r"(?P<begin><!-- table: (?P<name>[^>]+) -->\n).*?(?P<end><!-- end -->)", flags=re.DOTALL)
CPU_SECONDS = (500, 1_000, 1_500, 2_000, 3_000)
"""Of a training by a worker, after which the table of the reviews compares two models."""


def main() -> None:
    """Rewrites the tables of every page of docs/."""
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text()
        written = with_tables(text)
        if written != text:
            page.write_text(written)
            print(f"wrote {page.relative_to(ROOT)}")


def with_tables(text: str, tables: Mapping[str, str] | None = None) -> str:
    """Returns a page with every marked table replaced by the one of that name; `tables` are the kept results'.

    Raises:
        KeyError: a mark names no table.
    """
    known = measured_tables() if tables is None else tables
    return MARKED.sub(lambda mark: f"{mark['begin']}\n{known[mark['name']]}\n\n{mark['end']}", text)


def measured_tables() -> dict[str, str]:
    """Returns every table by name; that of a speed is `speed/FILE NUMBER`, as one measurement may have several."""
    tables = {
        f"speed/{path.stem} {number}": part
        for path in sorted((RESULTS / "speed").glob("*.json"))
        for number, part in enumerate("\n".join(_read(path)["table"]).split("\n\n"), start=1)
    }
    return tables | {
        "recipes": table(saved()),
        "reviews": _reviews(_read(RESULTS / "reviews.json")),
        "reviews by seconds": _reviews_by_seconds(_read(RESULTS / "reviews.json")),
        "conditioning": _conditioning(_read(RESULTS / "conditioning.json")),
    }


def _reviews(result: Mapping[str, Any]) -> str:
    """Returns the test figures of both models among the baselines, the worst first."""
    faithful, best = (result["details"]["figures"][name] for name in ("reviews", "reviews_best"))
    baselines = faithful["baselines"]
    orders = (5, 6, 7)
    counts = " / ".join(f"{baselines[f'order{order}']:.3f}" for order in orders)
    rows = [
        ("unigram", f"{baselines['unigram']:.3f}"),
        ("`xz -9e`", f"{baselines['xz']:.3f}"),
        (f"the recipe's layers, {_trained(result, 'faithful')}", f"{faithful['bits_per_character']:.3f}"),
        (f"count model, {' / '.join(map(str, orders))} characters of context", counts),
        (f"`reviews_best`, {_trained(result, 'best')}", f"{best['bits_per_character']:.3f}"),
    ]
    about = f"{best['documents']:,} reviews, {best['characters'] / 1e6:.1f} M characters"
    head = [f"| bits per character on the same held-out tenth ({about}) | |", "|---|---|"]
    return "\n".join([*head, *(f"| {name} | {figure} |" for name, figure in rows)])


def _trained(result: Mapping[str, Any], name: str) -> str:
    run = result["details"][name]
    return (
        f"{run['predictions'] / 1e6:.0f} M predictions: {run['seconds']:,.0f} s of steps, "
        f"{run['cpu_seconds']:,.0f} s of CPU a worker"
    )


def _reviews_by_seconds(result: Mapping[str, Any]) -> str:
    """Returns the last validation of both models within so many seconds of CPU."""
    seconds = " | ".join(f"{one:,}" for one in CPU_SECONDS)
    lines = [
        "| bits per character on the first 200,000 characters of `val` after so many seconds of CPU a worker "
        f"| {seconds} |",
        "|---" * (len(CPU_SECONDS) + 1) + "|",
    ]
    for name, words in (("faithful", "the recipe's layers"), ("best", "`reviews_best`")):
        run = result["details"][name]
        cells = [_bits_within(run["history"], one) if one <= run["cpu_seconds"] else "" for one in CPU_SECONDS]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _bits_within(history: list[Mapping[str, float]], seconds: float) -> str:
    within = [one for one in history if one["cpu_seconds"] <= seconds]
    return f"{within[-1]['val_bits_per_character']:.3f}"


def _conditioning(result: Mapping[str, Any]) -> str:
    """Returns how well two judges recover the stars of texts that people and the model wrote."""
    lines = ["| rank correlation with the stars | texts | film judge | product judge |", "|---|---:|---:|---:|"]
    for name, judges in result["judged"].items():
        written_by = "reviews that people wrote" if name == "people" else f"written at {name}"
        films, products = judges["films"], judges["products"]
        lines.append(f"| {written_by} | {films['texts']} | {films['spearman']:.3f} | {products['spearman']:.3f} |")
    return "\n".join(lines)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


if __name__ == "__main__":
    main()
