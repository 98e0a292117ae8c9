"""The reviews recipe of 200 million windows: its layers with a loss at every position, and our own in equal time.

Published: embedding 128, LSTM 128, Dense 256 relu, dropout 0.5, RMSprop 0.01, windows of 40 with stride 1, one
prediction per window; stopped at 30 of 200 million windows, without a held-out figure.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from benchmarks.recipes.chain import Say, job
from benchmarks.recipes.result import DataAbsentError, Figure, RecipeResult
from textgen import presets

LAST_CHARACTER = (
    "windows.context_length=40",
    "windows.stride=1",
    "training.order=shuffled",
    "training.loss_at=last",
    "training.global_batch_size=128",
    "training.warmup_steps=0",
    "training.decay=constant",
    "training.clip_norm=none",
)
"""Settings of the recipe's own form of training."""
LAST_CHARACTER_SECONDS = 600
NUM_WORKERS = 2
PROMPT = "this is the first "
TEMPERATURES = (0.2, 0.5, 1.0, 1.2)


def run(folder: Path, *, data: Path, scale: float, say: Say) -> RecipeResult:
    """Trains the recipe's layers and ours on film reviews, and the recipe's layers also on product reviews."""
    products = data / "reviews"
    if not products.is_dir():
        raise DataAbsentError(str(products))
    started = time.monotonic()
    faithful = _learnt(film_model("reviews", folder, scale=scale, say=say))
    windows = folder / "windows"
    last = _last_character(folder, windows, seconds=LAST_CHARACTER_SECONDS * scale, say=say)
    best = _learnt(film_model("reviews_best", folder, scale=scale, say=say))
    figures = {
        "reviews": _evaluated("reviews", folder, say=say),
        "reviews_best": _evaluated(
            "reviews_best", folder, "--count-order", 5, say=say
        ),  # The baselines on the same text are already known.
    }
    return RecipeResult(
        recipe="reviews",
        figures=_figures(figures, faithful=faithful, last=last, best=best),
        seconds=time.monotonic() - started,
        scale=scale,
        details={
            "faithful": faithful,
            "last_character": last,
            "best": best,
            "figures": figures,
            "instruments": _instruments(folder, products, share=scale, say=say),
            "by_year": _by_year(folder, products, share=scale, say=say),
        },
    )


def _figures(
    figures: dict[str, Any], *, faithful: dict[str, Any], last: dict[str, Any], best: dict[str, Any]
) -> tuple[Figure, ...]:
    counted = figures["reviews"]["baselines"]
    return (
        Figure(
            name="bits per character, test",
            published="none (about 1.64 at 256 units on 1,000 times the text)",
            faithful=figures["reviews"]["bits_per_character"],
            best=figures["reviews_best"]["bits_per_character"],
        ),
        Figure(
            name="bits per character, val, at equal CPU time of training",
            faithful=faithful["history"][-1]["val_bits_per_character"],
            best=_bits_at(best["history"], cpu_seconds=faithful["cpu_seconds"]),
        ),
        Figure(
            name=f"bits per character, test: best count model (order {counted['best_order']})",
            best=counted[f"order{counted['best_order']}"],
        ),
        Figure(name="bits per character, test: xz -9e", best=counted["xz"]),
        Figure(
            name="millions of predictions learnt from",
            published="30 of 200",
            faithful=faithful["predictions"] / 1e6,
            best=best["predictions"] / 1e6,
            better="higher",
        ),
        Figure(
            name="predictions per second, last character / every position",
            faithful=last["predictions"] / last["seconds"],
            best=faithful["predictions"] / faithful["seconds"],
            better="higher",
        ),
    )


def film_model(preset: str, folder: Path, *, scale: float, say: Say) -> Path:
    """Returns the run of a preset on film reviews, trained with two workers if needed; other recipes start from it.

    A scale below 1 reduces its epochs.
    """
    job("ingest", "--source", "movie-reviews", "--preset", "reviews", "--output", folder / "windows", say=say)
    settings = [] if scale >= 1 else ["--set", f"training.epochs={presets.preset(preset).training.epochs * scale}"]
    if scale < 1:
        settings += ["--set", "training.warmup_steps=50", "--set", "training.validate_every_steps=100"]
    job(
        "train", "--preset", preset, "--windows", folder / "windows", "--output", folder / "runs", "--run-name", preset,
        "--num-workers", NUM_WORKERS, *settings, say=say,
    )  # fmt: skip
    return folder / "runs" / preset


def _evaluated(name: str, folder: Path, *settings: object, say: Say) -> dict[str, Any]:
    """Returns the result of `jobs.evaluate` for a run."""
    checkpoint, output = folder / "runs" / name, folder / "figures" / name
    return job("evaluate", "--checkpoint", checkpoint, *settings, "--output", output, say=say)


def _last_character(folder: Path, windows: Path, *, seconds: float, say: Say) -> dict[str, Any]:
    """Trains the recipe's last-character form for about `seconds`, estimated from the pace of its first steps."""
    run = folder / "runs" / "last-character"
    for max_steps in (100, None):
        if max_steps is None:
            learnt = _learnt(run)
            max_steps = max(200, round(seconds * learnt["steps"] / learnt["seconds"]))
        changes = (*LAST_CHARACTER, f"training.max_steps={max_steps}", "training.validation_chars=20000")
        settings = [word for change in changes for word in ("--set", change)]
        job(
            "train", "--preset", "reviews", "--windows", windows, "--output", run.parent, "--run-name", run.name,
            *settings, say=say,
        )  # fmt: skip
    return _learnt(run)


def _instruments(folder: Path, products: Path, *, share: float, say: Say) -> dict[str, Any]:
    """Trains the recipe's layers on the category that it was published with, and generates samples."""
    place = folder / "instruments"
    source = products / "Musical_instruments_reviews.csv.zip"
    job("ingest", "--source", source, "--preset", "reviews", "--output", place / "windows", say=say)
    job(
        "train", "--preset", "reviews", "--windows", place / "windows", "--output", place, "--run-name", "run",
        "--set", f"training.epochs={max(0.2, 4 * share)}", "--set", "training.validate_every_steps=500", say=say,
    )  # fmt: skip
    prompts = place / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": PROMPT, "temperature": t}) + "\n" for t in TEMPERATURES))
    job("generate", "--checkpoint", place / "run", "--prompts", prompts, "--output", place / "samples", say=say)
    lines = (place / "samples" / "completions.jsonl").read_text().splitlines()
    return {"training": _learnt(place / "run"), "samples": [json.loads(line) for line in lines]}


def _by_year(folder: Path, products: Path, *, share: float, say: Say) -> dict[str, Any]:
    """Scores grocery reviews of the last year after training on earlier years, compared with a split by hash."""
    outcome = {}
    splits = {
        "last year held out": ("corpus.category_column=year", "corpus.test_categories=[2008]"),
        "a tenth held out by hash": ("corpus.category_column=year",),
    }
    for number, (name, changes) in enumerate(splits.items()):
        place = folder / "groceries" / str(number)
        settings = [word for change in changes for word in ("--set", change)]
        source = products / "amazon-reviews-groceries-gourmet-*.csv.gz"
        job("ingest", "--source", source, "--preset", "reviews", "--output", place / "windows", *settings, say=say)
        job(
            "train", "--preset", "reviews", "--windows", place / "windows", "--output", place, "--run-name", "run",
            "--set", f"training.max_steps={max(200, round(4000 * share))}", *settings, say=say,
        )  # fmt: skip
        scored = job("evaluate", "--checkpoint", place / "run", "--output", place / "figures", say=say)
        outcome[name] = {key: scored[key] for key in ("bits_per_character", "unknown_rate", "characters", "baselines")}
    return outcome


def _learnt(run: Path) -> dict[str, Any]:
    """Returns the totals of a run's history, and the history."""
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    last = history[-1]
    return {
        "steps": last["step"],
        "predictions": last["predictions"],
        "seconds": last["seconds"],
        "cpu_seconds": last["cpu_seconds"],
        "history": history,
    }


def _bits_at(history: list[dict[str, Any]], *, cpu_seconds: float) -> float:
    """Returns the bits per character of the last validation within `cpu_seconds` of training; NaN if there was none.

    Uses CPU time, because other load on the machine affects wall time.
    """
    before = [line["val_bits_per_character"] for line in history if line["cpu_seconds"] <= cpu_seconds]
    return float(before[-1]) if before else math.nan
