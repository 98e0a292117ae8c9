"""Probes a language model's state for a label that it was not trained on, compared with TF-IDF on the same texts.

Letters: D documents.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen import storage
from textgen.errors import UserError
from textgen.evaluation.comparable import comparable
from textgen.model.checkpoint import Checkpoint, find_checkpoint
from textgen.probing.document_forms import Forms, state_forms, tfidf_forms
from textgen.probing.features import DocumentFeatures, features_of
from textgen.probing.labelled import LabelledDocuments, labelled_documents
from textgen.probing.regression import Form, Regression, best_share, drawn, fitted, regression_figures
from textgen.probing.state_reader import StateReader
from textgen.probing.unit_effects import (
    Cells,
    Held,
    cell_places,
    held_units,
    label_unit,
    steering_figures,
    traces,
    unit_figures,
)
from textgen.probing.units import Trace, picture
from textgen.progress import Say
from textgen.settings import check
from textgen.windows.manifest import Manifest

Bools = npt.NDArray[np.bool_]
SEEDS_BY_LABELS = {100: 8, 1000: 4, 10_000: 2}
"""Number of draws by number of labels: with few labels, the figures vary more between draws."""
PICTURE_NAME = "trace.png"
FEW_LABELS_FORMS = ("latent", "word_states")
"""Forms of the language model among which cross-validation chooses if only some labels are given."""


def probe(
    checkpoint_uri: str,
    *,
    windows_uri: str | None,
    output: str,
    category: str | None,
    given_labels: Sequence[str] | None,
    max_documents: int | None,
    num_completions: int,
    say: Say,
) -> dict[str, Any]:
    """Probes a checkpoint, or the best one of a run, for two labels; writes `probe.json` and `trace.png` to `output`.

    Args:
        checkpoint_uri: A checkpoint of a language model, or a run.
        windows_uri: Manifest of the labelled documents; None uses the one that the checkpoint was trained on.
        output: Folder for the results; it also caches the features, so that the documents are read only once.
        category: Category of the documents; None uses all.
        given_labels: The negative and the positive label; None uses the only two labels of the documents.
        max_documents: Maximum number of documents to read per split; None reads all.
        num_completions: Number of completions to draw with units held low, left free and held high; 0 draws none.
        say: Receives progress.

    Raises:
        UserError: the checkpoint or the documents cannot be probed, or `num_completions` is negative.
    """
    check(num_completions >= 0, f"--completions is {num_completions}; use 0 (none) or more")
    started = time.monotonic()
    checkpoint = find_checkpoint(checkpoint_uri)
    manifest = Manifest.load(windows_uri or checkpoint.manifest_uri)
    _check(checkpoint, manifest)
    labels, documents = labelled_documents(
        manifest, category=category, given_labels=given_labels, max_documents=max_documents
    )
    figures, shown = _figures(
        checkpoint, documents, labels=labels, output=output, num_completions=num_completions, say=say
    )
    result = {
        "checkpoint_uri": checkpoint.uri,
        "windows_uri": manifest.uri,
        "category": category,
        "labels": list(labels),
        "documents": {split: len(own) for split, own in documents.items()},
        **figures,
        "trace_uri": storage.join(output, PICTURE_NAME),
        "seconds": round(time.monotonic() - started, 1),
    }
    details = {**result, "traces": [trace.to_dict() for trace in shown]}
    storage.write_bytes(storage.join(output, "probe.json"), (json.dumps(details, indent=1) + "\n").encode())
    return result


def _figures(
    checkpoint: Checkpoint,
    documents: Mapping[str, LabelledDocuments],
    *,
    labels: tuple[str, str],
    output: str,
    num_completions: int,
    say: Say,
) -> tuple[dict[str, Any], list[Trace]]:
    """Returns the figures of probes, units and steering, and the traces of the best unit."""
    texts = {split: own.texts for split, own in documents.items()}
    positive = {split: own.positive for split, own in documents.items()}
    features = features_of(checkpoint, texts, cache_uri=output, say=say)
    say("computing TF-IDF weights of words and states")
    forms, vectorizer = _forms(checkpoint, features, texts)
    probes, regressions = probe_all_labels(forms, positive, say=say)
    figures: dict[str, Any] = {"probes": probes, "label_efficiency": label_efficiency(forms, positive, say=say)}
    units, held, shown = _units(checkpoint, features, documents, regressions, labels=labels, output=output)
    figures |= units
    if num_completions:
        say(f"drawing {num_completions} completions with units held low, left free and held high")
        figures["steering"] = steering_figures(
            checkpoint,
            held,
            num_completions=num_completions,
            judge=lambda texts: regressions["tfidf"].logits(vectorizer.transform(texts)),
        )
    return figures, shown


def _units(
    checkpoint: Checkpoint,
    features: Mapping[str, DocumentFeatures],
    documents: Mapping[str, LabelledDocuments],
    regressions: Mapping[str, Regression],
    *,
    labels: tuple[str, str],
    output: str,
) -> tuple[dict[str, Any], Held, list[Trace]]:
    """Finds the best unit and draws its traces; returns its figures, the units to hold, and the traces."""
    reader = StateReader(checkpoint.build_model(), checkpoint.vocabulary)
    cells = Cells.of(reader, checkpoint.spec.model, documents["train"].texts)
    unit = label_unit(features["train"], documents["train"].positive, cells)
    shown = traces(unit, cells, documents["test"], reader=reader, labels=labels)
    layer, number = cells.names[unit.number]
    title = f"cell state of unit {number}, layer {layer}, after each character; blue indicates label {labels[1]}"
    storage.write_bytes(storage.join(output, PICTURE_NAME), picture(shown, title=title, reverse=not unit.found.above))
    held = held_units(unit, cells, regressions["cell_means"].weights)
    figures = {
        "unit": unit_figures(unit, cells, features["test"], documents["test"].positive),
        "hold": {name: {s: list(map(str, units)) for s, units in sides.items()} for name, sides in held.items()},
    }
    return figures, held, shown


def _check(checkpoint: Checkpoint, manifest: Manifest) -> None:
    if checkpoint.vocabulary != manifest.vocabulary:
        raise UserError(
            f"{checkpoint.uri} has a vocabulary of {checkpoint.vocabulary.size} ids and {manifest.uri} one of "
            f"{manifest.vocabulary.size}; probe on the windows that it was trained on, {checkpoint.manifest_uri}"
        )
    if checkpoint.spec.classifier.features is not None or checkpoint.spec.training.loss_at == "last":
        raise UserError(
            f"{checkpoint.uri} is a classifier, or was trained with training.loss_at=last, and carries no state from "
            "character to character; name a language model that was trained with training.loss_at=every"
        )


def _forms(
    checkpoint: Checkpoint, features: Mapping[str, DocumentFeatures], texts: Mapping[str, Sequence[str]]
) -> tuple[Forms, Any]:
    """Returns all forms of the documents, and the vectorizer of the form `tfidf`."""
    places, _ = cell_places(checkpoint.spec.model, width=features["train"].last.shape[1])
    forms = state_forms(features, places)
    tfidf, vectorizer = tfidf_forms(texts)
    for split, form in tfidf.items():
        forms[split]["tfidf"] = form
    return forms, vectorizer


def probe_all_labels(
    forms: Forms, positive: Mapping[str, Bools], *, say: Say
) -> tuple[dict[str, dict[str, Any]], dict[str, Regression]]:
    """Fits a regression per form on `train` and selects on `val`; returns the figures on `test`, and the regressions.

    `language_model` is the model's form with the lowest loss on `val`. `combined` is the weighted mean of its logits
    and those of `tfidf`, with the weight that is best on `val`.
    """
    found: dict[str, dict[str, Any]] = {}
    regressions: dict[str, Regression] = {}
    logits: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for name, form in forms["train"].items():
        regression = fitted([form], positive["train"], val=([forms["val"][name]], positive["val"]))
        regressions[name] = regression
        logits[name] = {split: regression.logits(forms[split][name].matrix) for split in ("val", "test")}
        figures = regression_figures(logits[name]["test"], positive["test"])
        val_loss = regression_figures(logits[name]["val"], positive["val"])["loss"]
        found[name] = {**figures, "val_loss": val_loss, **regression.to_dict()}
        say(f"{name:12} accuracy {figures['accuracy']:.3f} on test, with {found[name]['nonzero_weights']:,} weights")
    best = min((name for name in found if name != "tfidf"), key=lambda name: comparable(found[name]["val_loss"]))
    share = best_share(logits[best]["val"], logits["tfidf"]["val"], positive["val"])
    both = share * logits[best]["test"] + (1 - share) * logits["tfidf"]["test"]
    combined = {**regression_figures(both, positive["test"]), "language_model_share": share}
    say(f"{best} and tfidf: accuracy {combined['accuracy']:.3f} on test, with weight {share:.2f} for {best}")
    return {**found, "language_model": found[best], "combined": combined}, regressions


def label_efficiency(forms: Forms, positive: Mapping[str, Bools], *, say: Say) -> list[dict[str, Any]]:
    """Returns the accuracy on `test` of the language model's forms and of `tfidf` by the number of labels.

    The labels are drawn from `train`, equally many of each. Cross-validation on them selects form and penalty, so no
    other label is used; the forms themselves are fitted on all texts of `train`. The spread is the standard deviation
    over draws.
    """
    rows = []
    for num_labels, num_seeds in SEEDS_BY_LABELS.items():
        if num_labels // 2 > min(positive["train"].sum(), (~positive["train"]).sum()):
            break
        row: dict[str, Any] = {"labels": num_labels, "draws": num_seeds}
        for side, names in (("language_model", FEW_LABELS_FORMS), ("tfidf", ("tfidf",))):
            learnt = [forms["train"][name] for name in names]
            accuracies = [
                _accuracy(learnt, positive["train"], forms["test"], positive["test"], num_labels=num_labels, seed=seed)
                for seed in range(num_seeds)
            ]
            row[side] = {"accuracy": float(np.mean(accuracies)), "spread": float(np.std(accuracies, ddof=1))}
        say(
            f"{num_labels:6,} labels: accuracy {row['language_model']['accuracy']:.3f} with the language model, "
            f"{row['tfidf']['accuracy']:.3f} with tfidf"
        )
        rows.append(row)
    return rows


def _accuracy(
    learnt: Sequence[Form],
    positive: Bools,
    tests: Mapping[str, Form],
    test_positive: Bools,
    *,
    num_labels: int,
    seed: int,
) -> float:
    """Returns the accuracy on `test` of a regression fitted on `num_labels` labels of `train`."""
    places = drawn(positive, num_labels, seed=seed)
    regression = fitted([form.rows(places) for form in learnt], positive[places], seed=seed)
    return regression_figures(regression.logits(tests[regression.form].matrix), test_positive)["accuracy"]
