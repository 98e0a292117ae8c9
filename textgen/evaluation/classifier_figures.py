"""Scores a classifier's checkpoint on the labelled documents of a split."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from textgen.errors import UserError
from textgen.evaluation.classification import classification_figures, probabilities
from textgen.model.checkpoint import Checkpoint
from textgen.progress import Say
from textgen.windows.documents import DocumentLabels, DocumentReader
from textgen.windows.manifest import Manifest
from textgen.windows.vocabulary import Ids


def classifier_figures(checkpoint: Checkpoint, manifest: Manifest, *, split: str, say: Say) -> dict[str, Any]:
    """Scores the labelled documents of a split, with the calibration fitted on `val` and stored in the checkpoint.

    Raises:
        UserError: no document of the split has one of the classifier's labels.
    """
    from textgen.evaluation.document_scoring import Calibration, DocumentScorer, abstention_of  # Loads TensorFlow.
    from textgen.model.classifier import build_classifier

    started = time.monotonic()
    labels = DocumentLabels.of(manifest, split, classes=checkpoint.classes)
    if not len(labels):
        raise UserError(
            f"no document of {split} in {manifest.uri} has one of the labels {', '.join(checkpoint.classes)}; "
            "name another --split or --windows"
        )
    say(f"scoring {len(labels):,} documents of {split} with {checkpoint.uri}")
    scorer = DocumentScorer(build_classifier(checkpoint), checkpoint.vocabulary, num_classes=len(checkpoint.classes))
    sizes: list[tuple[int, int]] = []
    logits = scorer.logits(_documents(manifest, split, labels, sizes))
    calibration, abstention = Calibration.of(checkpoint.metrics), abstention_of(checkpoint, scorer)
    shares = probabilities(logits, temperature=calibration.temperature)
    answered = [
        abstention.reason(row, num_ids=num_ids, num_unknown=num_unknown) is None
        for row, (num_ids, num_unknown) in zip(shares, sizes, strict=True)
    ]
    figures = classification_figures(
        logits,
        labels.labels,
        classes=checkpoint.classes,
        temperature=calibration.temperature,
        answered=np.array(answered),
    )
    return {
        "checkpoint_uri": checkpoint.uri,
        "windows_uri": manifest.uri,
        "split": split,
        "documents_without_label": labels.num_unlabelled,
        "documents_with_unseen_label": labels.num_unseen,
        **figures,
        "answer_threshold": calibration.threshold,
        "trained_on_this_manifest": manifest.hash == checkpoint.manifest_hash,
        "seconds": round(time.monotonic() - started, 1),
    }


def _documents(manifest: Manifest, split: str, labels: DocumentLabels, sizes: list[tuple[int, int]]) -> Iterator[Ids]:
    """Yields the labelled documents and appends to `sizes` the number of ids and of UNKNOWN ids of each."""
    unknown_id = manifest.vocabulary.unknown_id
    with DocumentReader(manifest, split) as reader:
        for place in labels.places:
            ids = reader.ids(int(place))
            sizes.append((len(ids), int(np.count_nonzero(ids == unknown_id))))
            yield ids
