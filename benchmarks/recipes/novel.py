"""The novel recipe: words without stop words, scaled ids, greedy text; then our own version on that and the real text.

Published: 100,581 characters, 42 distinct, of a different copy of the book; 4 and 20 epochs; texts of 1,000 greedy
characters that fall into a loop ("serer serer"). There is no published held-out figure; here, some paragraphs are held
out. Bits per character of different token streams cannot be compared, so our layers are also trained on the recipe's
cleaned text, in which a space joins the paragraphs; in the real text, paragraphs are separate documents.

On CPUs with instructions for it, all trainings multiply in bfloat16 (`training.mixed_precision`): a prediction reads
100 ids, and 20 epochs take two core-hours instead of three.
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
    completed,
    ingested,
    kept,
    test_bits,
    trained,
    trained_within,
)
from textgen import presets
from textgen.evaluation.generated_text import passages, text_figures
from textgen.model.checkpoint import Checkpoint
from textgen.runs.precision import multiplies_bfloat16
from textgen.spec import RunSpec, SamplingSpec, override
from textgen.windows.manifest import Manifest

NOVEL = "novels/frankenstein-2.txt"
ENCODING = {"corpus.encoding": "cp1252"}
EPOCHS = (4, 20)
"""Training lengths for which the recipe shows texts."""
HELD_OUT = ("val_share", "test_share", "min_split_documents")
"""Fields of the section `corpus` that determine how much is held out."""
NUM_CHARS = 1000
TEMPERATURES = {"greedy": 0.0, "drawn": 0.7}


def run(folder: Path, *, data: Path, scale: float, say: Say) -> RecipeResult:
    """Trains the recipe for both lengths, and our layers for no longer, on the cleaned text and on the real one."""
    source = data / NOVEL
    if not source.exists():
        raise DataAbsentError(str(source))
    started = time.monotonic()
    settings = ENCODING | {"training.mixed_precision": multiplies_bfloat16()}
    novel, best = (override(presets.preset(name), settings) for name in ("novel", "novel_best"))
    whole = ingested("novel", source, folder / "all", ENCODING, say=say)
    shares = {f"corpus.{name}": getattr(best.corpus, name) for name in HELD_OUT}
    novel = override(novel, shares)
    ingested("novel", source, folder / "cleaned", ENCODING | shares, say=say)
    ingested("novel_best", source, folder / "real", ENCODING, say=say)
    faithful = {epochs: _faithful(novel, folder, epochs=epochs, scale=scale, say=say) for epochs in EPOCHS}
    seconds = faithful[EPOCHS[-1]]["run"]["seconds"]
    same_text = dataclasses.replace(
        best, corpus=novel.corpus, windows=dataclasses.replace(best.windows, separator=novel.windows.separator)
    )
    ours = {}
    for name, spec in {"cleaned": same_text, "real": best}.items():
        run_ = trained_within(seconds, spec, folder / name, folder / "runs", f"novel_best-{name}", say=say)
        ours[name] = _measured(run_, run_.checkpoint)
    counted = {name: best_count_model(folder / name) for name in ours}
    return RecipeResult(
        recipe="novel",
        figures=_figures(whole, faithful, ours, counted),
        # At least the time of the steps, some of which an earlier run may have made.
        seconds=max(time.monotonic() - started, seconds + sum(one["run"]["seconds"] for one in ours.values())),
        scale=scale,
        details={"corpus": whole, "faithful": faithful, "ours": ours, "baselines": counted},
    )


def _faithful(spec: RunSpec, folder: Path, *, epochs: int, scale: float, say: Say) -> dict[str, Any]:
    """Trains or resumes the recipe up to `epochs`, and measures it there once, before its weights change."""
    spec = override(spec, {"training.epochs": epochs * scale})

    def measured() -> dict[str, Any]:
        run_ = trained(spec, folder / "cleaned", folder / "runs", "novel", say=say)
        return _measured(run_, run_.last)  # The recipe does not keep the best weights.

    figures: dict[str, Any] = kept(folder / f"novel-{epochs}-epochs.json", measured)
    return figures


def _measured(run_: Trained, checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns the bits on `test`, and greedy and sampled continuations of a passage of `train`, with figures."""
    manifest = Manifest.load(checkpoint.manifest_uri)
    windows = presets.preset("novel").windows
    prompts = passages(manifest, split="train", num_passages=1, length=windows.context_length, seed=0)
    measured: dict[str, Any] = {"test_bits": test_bits(checkpoint), "run": run_.to_dict(), "prompt": prompts[0]}
    settings = [SamplingSpec(temperature=temperature, max_new_chars=NUM_CHARS) for temperature in TEMPERATURES.values()]
    for name, texts in zip(TEMPERATURES, completed(checkpoint, prompts, *settings), strict=True):
        measured[name] = {"text": texts[0], **text_figures(texts, manifest, windows=windows, prompts=prompts)}
    return measured


def _figures(
    whole: dict[str, Any], faithful: dict[int, dict[str, Any]], ours: dict[str, Any], counted: dict[str, Any]
) -> tuple[Figure, ...]:
    short, long = (faithful[epochs] for epochs in EPOCHS)
    cleaned = ours["cleaned"]

    def of_texts(name: str, drawn: str, key: str, *, published: str | None = None) -> Figure:
        return Figure(name=name, published=published, faithful=long[drawn][key], best=cleaned[drawn][key])

    best_of = {name: figures[f"order{figures['best_order']}"] for name, figures in counted.items()}
    return (
        Figure(
            name="bits per character of the cleaned text, test, in no more training time",
            faithful=long["test_bits"],
            best=cleaned["test_bits"],
        ),
        Figure(name=f"the same after {EPOCHS[0]} epochs of the recipe", faithful=short["test_bits"]),
        Figure(name="the same: best count model", best=best_of["cleaned"]),
        Figure(name="bits per character of the real text, test", best=ours["real"]["test_bits"]),
        Figure(name="the same: best count model", best=best_of["real"]),
        of_texts("share of 1,000 greedy characters that is a closing loop", "greedy", "loop_chars_share"),
        of_texts("the same, drawn at temperature 0.7", "drawn", "loop_chars_share"),
        of_texts("repeated runs of 4 words, greedy", "greedy", "repeated_ngram_share", published='"serer serer"'),
        Figure(name="characters of the cleaned text", published="100,581 (another copy)", faithful=whole["characters"]),
    )
