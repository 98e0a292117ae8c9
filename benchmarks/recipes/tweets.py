"""The recipe of one author's tweets: one-hot input, two LSTMs, last character; then our own, in no more time.

Published: 134,481 characters, 130 distinct, 44,814 windows of 40; 280,962 parameters; 60 epochs; a mean novelty of 0.42
over ten texts of 40 copied and 100 generated characters at temperature 0.2. There is no published held-out figure. To
measure one, the recipe and ours are trained on the same ids, with a twentieth of the tweets each as `val` and `test`,
and with END instead of a space between tweets.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from benchmarks.recipes.chain import Say
from benchmarks.recipes.result import DataAbsentError, Figure, RecipeResult
from benchmarks.recipes.runs import (
    Trained,
    best_count_model,
    changed_fields,
    completed,
    ingested,
    test_bits,
    trained,
    trained_within,
)
from textgen import presets
from textgen.evaluation.generated_text import passages, text_figures
from textgen.spec import RunSpec, override
from textgen.windows.manifest import Manifest

TWEETS = "tweets/hebrew_tweets.npy"
NUM_TEXTS, PROMPT_CHARS, NEW_CHARS = 10, 40, 100
"""Number of texts of the published novelty, and their copied and generated characters."""
HELD_OUT_TEXTS = 50
"""Number of held-out passages whose novelty serves as a reference: garbled words are novel too."""


def run(folder: Path, *, data: Path, scale: float, say: Say) -> RecipeResult:
    """Trains the recipe on all tweets for its novelty, then it and ours on the same tweets for held-out figures."""
    source = data / TWEETS
    if not source.exists():
        raise DataAbsentError(str(source))
    started = time.monotonic()
    tweets, best = presets.preset("tweets"), presets.preset("tweets_best")
    tweets = override(tweets, {"training.epochs": tweets.training.epochs * scale})
    same_ids = {**changed_fields(tweets, best, "corpus"), "windows.separator": best.windows.separator}
    corpus = ingested("tweets", source, folder / "all", {}, say=say)
    ingested("tweets_best", source, folder / "windows", {}, say=say)
    runs = folder / "runs"
    recipe = trained(tweets, folder / "all", runs, "all", say=say)
    faithful = trained(override(tweets, same_ids), folder / "windows", runs, "tweets", say=say)
    ours = trained_within(faithful.seconds, best, folder / "windows", runs, "tweets_best", say=say)
    bits = {"faithful": test_bits(faithful.checkpoint), "best": test_bits(ours.checkpoint)}
    counted = best_count_model(folder / "windows")
    texts = {"faithful": _texts(recipe, tweets), "best": _texts(ours, best)}
    manifest = Manifest.load(str(folder / "windows"))
    written = passages(manifest, split="test", num_passages=HELD_OUT_TEXTS, length=NEW_CHARS, seed=0)
    held_out = text_figures(written, manifest, windows=tweets.windows)
    return RecipeResult(
        recipe="tweets",
        figures=_figures(bits, texts, counted, held_out, faithful=faithful, ours=ours),
        seconds=time.monotonic() - started,
        scale=scale,
        details={
            "corpus": corpus,
            "test_bits": bits,
            "baselines": counted,
            "texts": texts,
            "held_out": held_out,
            "runs": {"all": recipe.to_dict(), "tweets": faithful.to_dict(), "tweets_best": ours.to_dict()},
        },
    )


def _figures(
    bits: dict[str, float],
    texts: dict[str, dict[str, Any]],
    counted: dict[str, Any],
    held_out: dict[str, float],
    *,
    faithful: Trained,
    ours: Trained,
) -> tuple[Figure, ...]:
    def of_texts(name: str, key: str, *, published: str | None = None, better: str = "lower") -> Figure:
        return Figure(
            name=name, published=published, faithful=texts["faithful"][key], best=texts["best"][key], better=better
        )

    return (
        Figure(name="bits per character, test, in no more training time", faithful=bits["faithful"], best=bits["best"]),
        Figure(
            name=f"bits per character, test: best count model (order {counted['best_order']})",
            best=counted[f"order{counted['best_order']}"],
        ),
        of_texts("mean novelty, copied prompt included", "novelty_with_prompt", published="0.42", better="higher"),
        of_texts("mean novelty without the prompt", "novelty", better="higher"),
        Figure(
            name="mean novelty of held-out tweets, cut to 100 characters", best=held_out["novelty"], better="higher"
        ),
        of_texts("longest copied run of 10 texts, characters", "copied_chars_max"),
        Figure(
            name="predictions per second of training",
            faithful=faithful.predictions_per_second,
            best=ours.predictions_per_second,
            better="higher",
        ),
    )


def _texts(run: Trained, spec: RunSpec) -> dict[str, Any]:
    """Completes passages of `train` as the recipe does, and compares the texts with its windows."""
    manifest = Manifest.load(run.checkpoint.manifest_uri)
    settings = dataclasses.replace(spec.sampling, max_new_chars=NEW_CHARS)
    prompts = passages(manifest, split="train", num_passages=NUM_TEXTS, length=PROMPT_CHARS, seed=settings.seed)
    (completions,) = completed(run.checkpoint, prompts, settings)
    windows = presets.preset("tweets").windows
    return {
        "temperature": settings.temperature,
        "prompts": prompts,
        "completions": completions,
        **text_figures(completions, manifest, windows=windows, prompts=prompts),
    }
