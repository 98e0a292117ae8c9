"""The sentiment recipe: a bag of words with an MLP, compared with a language model on the same documents.

Published: the 3,000 most frequent words of tweets as a binary bag, Dense 512 relu, 256 sigmoid, dropout 0.5 after each,
softmax; Adam, batches of 32, 5 epochs: 79.3 % on a tenth of 1.58 million tweets; confident on "foo bar". Film reviews
are measured in addition to the tweets, because there is a language model of them.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recipes.chain import Say, job
from benchmarks.recipes.result import Figure, RecipeResult
from benchmarks.recipes.reviews import film_model
from benchmarks.recipes.runs import Trained, ingested, kept, trained
from textgen import presets
from textgen.spec import override
from textgen.windows.manifest import Manifest

TWEETS = "tweets/sentiment140_20k.csv"
NUM_SEEDS = 5
"""Number of splits and initial weights for the tweets."""
NOT_ENGLISH = ("foo bar", "qwzx zzyq plonk", "שלום עולם")
"""Texts on which the published model is confident."""
FEW_DOCUMENTS = 1000
"""Documents per split that the short form probes: reading all takes half an hour with a model of 512 units."""
SHOWN = ("accuracy", "macro_f1", "loss", "calibration_error", "answered_share", "accuracy_of_answered")


def run(folder: Path, *, data: Path, scale: float, say: Say) -> RecipeResult:
    """Measures the recipe's MLP on film reviews and tweets, and our own classifiers on the reviews."""
    started = time.monotonic()
    reviews = _reviews(folder / "reviews", say=say)
    tweets = _tweets(folder / "tweets", data / TWEETS, num_seeds=max(2, round(NUM_SEEDS * scale)), say=say)
    model = str(film_model("reviews_best", folder.parent / "reviews", scale=scale, say=say))
    read = _finetuned(folder / "finetuned", model, scale=scale, say=say)
    probed = _probed(folder / "probe", model, max_documents=None if scale >= 1 else FEW_DOCUMENTS, say=say)
    few = probed["label_efficiency"][0]
    figures = [
        Figure(
            name="accuracy on IMDb, held out (MLP; fine-tuned language model with TF-IDF)",
            published="none; 79.3 % of 158,000 tweets",
            faithful=reviews["last"]["accuracy"],
            best=read["combined"]["accuracy"],
            better="higher",
        ),
        *_figures_of_tweets(tweets),
        _pair("macro F1 on IMDb (MLP at its end; at its best validation)", reviews, "macro_f1", better="higher"),
        _pair("calibration error on IMDb (the same)", reviews, "calibration_error"),
        Figure(
            name="calibration error on IMDb without temperature (the same)",
            faithful=reviews["last"]["calibration_error_uncalibrated"],
            best=reviews["best"]["calibration_error_uncalibrated"],
        ),
        _pair("accuracy of the answered on IMDb (the same)", reviews, "accuracy_of_answered", better="higher"),
        Figure(name="accuracy on IMDb: TF-IDF", best=read["tfidf"]["accuracy"], better="higher"),
        Figure(
            name="accuracy on IMDb: probe of the language model with TF-IDF",
            best=probed["probes"]["combined"]["accuracy"],
            better="higher",
        ),
        Figure(name="accuracy on IMDb: fine-tuned language model", best=read["finetuned"]["accuracy"], better="higher"),
        Figure(
            name=f"accuracy on IMDb with {few['labels']} labels (TF-IDF; language model)",
            faithful=few["tfidf"]["accuracy"],
            best=few["language_model"]["accuracy"],
            better="higher",
        ),
    ]
    return RecipeResult(
        recipe="sentiment",
        figures=tuple(figures),
        seconds=time.monotonic() - started,
        scale=scale,
        details={"reviews": reviews, "tweets": tweets, "finetuned": read, "probe": probed},
    )


def _reviews(folder: Path, *, say: Say) -> dict[str, Any]:
    """Trains the MLP on film reviews; returns figures at its end, at its best validation, and for non-English texts."""
    windows = folder / "windows"
    ingested("sentiment", Path("movie-reviews"), windows, {}, say=say)
    outcome = trained(presets.preset("sentiment"), windows, folder, "mlp", say=say)
    return kept(
        folder / "figures.json",
        lambda: {
            "last": _figures(outcome, windows, at_end=True),
            "best": _figures(outcome, windows, at_end=False),
            "not_english": _labels(outcome, NOT_ENGLISH),
            "training": outcome.to_dict(),
        },
    )


def _tweets(folder: Path, source: Path, *, num_seeds: int, say: Say) -> list[dict[str, Any]]:
    """Trains the MLP on tweets, with a split and weights per seed; returns nothing if the tweets are missing."""
    if not source.exists():
        say(f"data absent: {source}")
        return []
    return [_tweets_of(seed, folder / str(seed), source, say=say) for seed in range(num_seeds)]


def _tweets_of(seed: int, folder: Path, source: Path, *, say: Say) -> dict[str, Any]:
    windows = folder / "windows"
    ingested("sentiment_tweets", source, windows, {"corpus.seed": seed}, say=say)
    spec = override(presets.preset("sentiment_tweets"), {"corpus.seed": seed, "training.seed": seed})
    outcome = trained(spec, windows, folder, "mlp", say=say)
    found: dict[str, Any] = kept(
        folder / "figures.json",
        lambda: {
            "last": _figures(outcome, windows, at_end=True),
            "best": _figures(outcome, windows, at_end=False),
        },
    )
    say(f"seed {seed}: accuracy {found['last']['accuracy']:.4f}, at best validation {found['best']['accuracy']:.4f}")
    return found


def _finetuned(folder: Path, model: str, *, scale: float, say: Say) -> dict[str, Any]:
    """Fine-tunes a language model on the labels; returns its figures, those of TF-IDF, and of both combined."""
    from textgen.runs.lineage import Source
    from textgen.training.driver import train_here  # Loads Ray.

    base = presets.preset("sentiment_finetuned")
    windows = folder / "windows"
    ingested(base.preset, Path("movie-reviews"), windows, {}, say=say)
    train_here(
        override(base, {"training.epochs": max(0.1, base.training.epochs * min(1.0, scale))}),
        manifest_uri=str(windows),
        output=str(folder),
        run_name="run",
        num_threads=len(os.sched_getaffinity(0)),
        source=Source(uri=model),
        say=lambda line: say(f"finetuned: {line}"),
        report=lambda _: None,
    )
    return kept(folder / "figures.json", lambda: _with_tfidf(folder / "run", windows))


def _with_tfidf(run_folder: Path, windows: Path) -> dict[str, Any]:
    from textgen.evaluation.classifier_figures import classifier_figures
    from textgen.evaluation.document_scoring import DocumentScorer
    from textgen.model.checkpoint import find_checkpoint
    from textgen.model.classifier import build_classifier
    from textgen.probing.document_forms import tfidf_forms
    from textgen.probing.regression import best_share, fitted, regression_figures
    from textgen.windows.documents import DocumentLabels, DocumentReader
    from textgen.windows.shards import iter_documents

    checkpoint, manifest = find_checkpoint(str(run_folder)), Manifest.load(str(windows))
    labels = {split: DocumentLabels.of(manifest, split, classes=checkpoint.classes) for split in manifest.splits}
    texts = {
        split: [document.text for document in iter_documents(manifest, split) if document.label in checkpoint.classes]
        for split in manifest.splits
    }
    positive = {split: own.labels == 1 for split, own in labels.items()}
    forms, _ = tfidf_forms(texts)
    regression = fitted([forms["train"]], positive["train"], val=([forms["val"]], positive["val"]))
    scorer = DocumentScorer(build_classifier(checkpoint), checkpoint.vocabulary, num_classes=2)
    logits: dict[str, dict[str, Any]] = {"tfidf": {}, "finetuned": {}}
    for split in ("val", "test"):
        logits["tfidf"][split] = regression.logits(forms[split].matrix)
        with DocumentReader(manifest, split) as reader:
            both = scorer.logits(reader.ids(int(place)) for place in labels[split].places)
        logits["finetuned"][split] = both[:, 1] - both[:, 0]
    share = best_share(logits["finetuned"]["val"], logits["tfidf"]["val"], positive["val"])
    combined = share * logits["finetuned"]["test"] + (1 - share) * logits["tfidf"]["test"]
    return {
        "finetuned": _shown(classifier_figures(checkpoint, manifest, split="test", say=lambda _: None)),
        "tfidf": regression_figures(logits["tfidf"]["test"], positive["test"]),
        "combined": {**regression_figures(combined, positive["test"]), "finetuned_share": share},
        "spec": dataclasses.asdict(checkpoint.spec.classifier),
    }


def _probed(folder: Path, model: str, *, max_documents: int | None, say: Say) -> dict[str, Any]:
    """Probes the language model on the same reviews, the category `imdb` of its manifest."""
    some = [] if max_documents is None else ["--max-documents", max_documents]
    return kept(
        folder / "result.json",
        lambda: job("probe", "--checkpoint", model, "--category", "imdb", *some, "--output", folder, say=say),
    )


def _figures(outcome: Trained, windows: Path, *, at_end: bool) -> dict[str, Any]:
    from textgen.evaluation.classifier_figures import classifier_figures

    checkpoint = outcome.last if at_end else outcome.checkpoint
    found = classifier_figures(checkpoint, Manifest.load(str(windows)), split="test", say=lambda _: None)
    return _shown(found) | {
        "step": checkpoint.step,
        "documents": found["documents"],
        "calibration_error_uncalibrated": found["calibration_error_uncalibrated"],
        "temperature": found["temperature"],
    }


def _labels(outcome: Trained, texts: Sequence[str]) -> list[dict[str, Any]]:
    from textgen.evaluation.labelling import Labeller

    labelled = Labeller(outcome.checkpoint).label(texts)
    return [
        {"text": one.text, "label": one.label, "confidence": one.confidence, "reason": one.reason} for one in labelled
    ]


def _shown(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: figures[name] for name in SHOWN}


def _pair(name: str, figures: Mapping[str, Any], key: str, *, better: str = "lower") -> Figure:
    return Figure(name=name, faithful=figures["last"][key], best=figures["best"][key], better=better)


def _figures_of_tweets(tweets: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Returns the mean and spread of the accuracy on tweets over seeds; empty without tweets."""
    if not tweets:
        return []
    found = {key: np.array([seed[key]["accuracy"] for seed in tweets]) for key in ("last", "best")}
    return [
        Figure(
            name=f"accuracy on 20,000 tweets, mean of {len(tweets)} seeds (MLP at its end; at its best validation)",
            published="79.3 % on 1.58 million",
            faithful=float(found["last"].mean()),
            best=float(found["best"].mean()),
            better="higher",
        ),
        Figure(
            name="its spread over the seeds (standard deviation)",
            faithful=float(found["last"].std(ddof=1)),
            best=float(found["best"].std(ddof=1)),
        ),
    ]
