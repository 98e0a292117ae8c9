"""The fine-tuning recipe: fine-tunes a model of film reviews on one author's tweets, compared with random weights.

Published: a language model pre-trained on general text, a learning-rate finder, a one-cycle schedule, and marks for
capitals, repeats and numbers, then tweets of one author; results are shown as pictures, without a held-out figure. All
trainings have the same layers, and all but one have the same number of steps: equal data and equal time.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.recipes.chain import Say
from benchmarks.recipes.result import DataAbsentError, Figure, RecipeResult
from benchmarks.recipes.reviews import film_model
from benchmarks.recipes.runs import Trained, best_count_model, ingested, test_bits, trained
from textgen import presets
from textgen.evaluation.comparable import comparable
from textgen.model.checkpoint import find_checkpoint
from textgen.runs.plan import TrainingPlan
from textgen.spec import RunSpec, override
from textgen.windows.manifest import Manifest

TWEETS = "tweets/elonmusk_tweets.csv"
PLAIN = {"training.decay": "cosine", "training.layer_rate_factor": 1.0, "training.unfreeze_every_steps": None}
"""Settings without any of the three techniques."""
UNFREEZING_SHARE = 0.05
"""Share of the steps after which the next group of layers is unfrozen."""
LAYER_RATE_FACTOR = 2.6
"""The value of ULMFiT."""
SCRATCH_RATES = (8e-3, 16e-3)
"""Learning rates tried with random initial weights; the better one on `val` is compared."""
LONG_FACTOR = 3
"""Length of the long training from random weights, relative to the others."""
CASED_RULES = ("bytes_literal", "html", "control", "nfc", "drop_containing", "whitespace", "length")
MARKS = ("mark_numbers", "mark_all_capitals", "mark_capitals", "mark_repeats")

Figures = dict[str, Any]


def run(folder: Path, *, data: Path, scale: float, say: Say) -> RecipeResult:
    """Fine-tunes with and without each technique, trains from random weights, and scores all on `test`."""
    tweets = data / TWEETS
    if not tweets.exists():
        raise DataAbsentError(str(tweets))
    started = time.monotonic()
    source = find_checkpoint(str(film_model("reviews", folder.parent / "reviews", scale=scale, say=say)))
    windows = folder / "windows"
    ingested("finetune", tweets, windows, {}, say=say)
    spec = _shortened(presets.preset("finetune"), scale)
    tuned = {
        name: _figures(trained(override(spec, changes), windows, folder / "runs", name, source=source.uri, say=say))
        for name, changes in _ablation(spec, windows).items()
    }
    anew = _anew(dataclasses.replace(spec, model=source.spec.model), windows, folder / "runs", say=say)
    best, equal = (
        min(runs, key=lambda name: comparable(runs[name]["val"]))
        for runs in (tuned, {name: figures for name, figures in anew.items() if name != "anew-long"})
    )
    counted = best_count_model(windows)
    order = f"order{counted['best_order']}"
    return RecipeResult(
        recipe="finetune",
        figures=(
            Figure(
                name="bits per character, test, fine-tuned",
                published="pictures only",
                faithful=tuned["one-cycle"]["test"],
                best=tuned[best]["test"],
            ),
            Figure(name="the same layers from random weights, equal data and steps", best=anew[equal]["test"]),
            Figure(name=f"from random weights, {LONG_FACTOR} times the steps", best=anew["anew-long"]["test"]),
            Figure(name=f"best count model ({order})", best=counted[order]),
        ),
        seconds=time.monotonic() - started,
        scale=scale,
        details={
            "source": {"step": source.step, **source.metrics},
            "fine-tuned": tuned,
            "from random weights": anew,
            "best": {"fine-tuned": best, "from random weights": equal},
            "with capitals": _with_capitals(spec, tweets, folder, source=source.uri, say=say),
            "baselines": counted,
        },
    )


def _shortened(spec: RunSpec, scale: float) -> RunSpec:
    """Returns the spec with its epochs multiplied by `scale`, but at least two."""
    return override(spec, {"training.epochs": max(2.0, spec.training.epochs * scale)})


def _ablation(spec: RunSpec, windows: Path) -> dict[str, Mapping[str, Any]]:
    """Returns the changes for each fine-tuning: no technique, one more with each, and the preset itself."""
    num_steps = TrainingPlan.of(spec, Manifest.load(str(windows))).num_steps
    unfreezing = {"training.unfreeze_every_steps": max(1, round(num_steps * UNFREEZING_SHARE))}
    factor = {"training.layer_rate_factor": LAYER_RATE_FACTOR}
    return {
        "plain": PLAIN,
        "unfreezing": PLAIN | unfreezing,
        "discriminative": PLAIN | unfreezing | factor,
        "one-cycle": PLAIN | unfreezing | factor | {"training.decay": "one_cycle"},
        "preset": {},
    }


def _anew(spec: RunSpec, windows: Path, folder: Path, *, say: Say) -> dict[str, Figures]:
    """Trains from random weights: the same number of steps at several rates, then longer at the better one."""
    runs = {}
    for rate in SCRATCH_RATES:
        changed = override(spec, PLAIN | {"training.learning_rate": rate})
        runs[f"anew-{rate:g}"] = _figures(trained(changed, windows, folder, f"anew-{rate:g}", say=say))
    rate = min(SCRATCH_RATES, key=lambda rate: comparable(runs[f"anew-{rate:g}"]["val"]))
    epochs = spec.training.epochs * LONG_FACTOR
    longer = override(spec, PLAIN | {"training.learning_rate": rate, "training.epochs": epochs})
    runs["anew-long"] = _figures(trained(longer, windows, folder, "anew-long", say=say))
    return runs


def _with_capitals(spec: RunSpec, tweets: Path, folder: Path, *, source: str, say: Say) -> dict[str, Figures]:
    """Fine-tunes on the tweets with capitals: as new symbols, and as marks before known symbols."""
    runs = {}
    for name, rules in (("symbols", CASED_RULES), ("marks", CASED_RULES + MARKS)):
        windows = folder / f"windows-{name}"
        ingested("finetune", tweets, windows, {"corpus.rules": list(rules)}, say=say)
        cased = override(spec, {"corpus.rules": rules})
        runs[name] = _figures(trained(cased, windows, folder / "runs", f"capitals-{name}", source=source, say=say))
    return runs


def _figures(run: Trained) -> Figures:
    """Returns the figures of a run; its best checkpoint on `val` is scored on `test`."""
    return {
        "val": run.checkpoint.metrics["val_bits_per_character"],
        "test": test_bits(run.checkpoint),
        "steps": run.history[-1]["step"],
        "best_step": run.checkpoint.step,
        "training_seconds": run.seconds,
        "learning_rate": run.checkpoint.spec.training.learning_rate,
    }
