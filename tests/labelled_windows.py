"""Labelled documents that a small classifier can learn, and a spec for training it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.written_windows import tiny_spec, written_manifest
from textgen.spec import RunSpec
from textgen.windows.manifest import Manifest

GOOD, BAD, NEUTRAL = ("fine", "funny", "great"), ("dull", "awful", "worst"), ("film", "plot", "the", "a")
NUM_DOCUMENTS = {"train": 61, "val": 20, "test": 13}


def document(number: int) -> str:
    """Returns the text of a document: three of four words are neutral, and the others depend on its label."""
    telling = GOOD if number % 2 else BAD
    return " ".join(
        NEUTRAL[(number + place) % 4] if place % 4 else telling[(number // 2 + place) % 3] for place in range(6)
    )


def labelled_manifest(folder: Path, *, unit: str = "words") -> Manifest:
    """Writes 61 / 20 / 13 labelled documents; every tenth document of `train` has no label."""
    splits = {split: [document(number) for number in range(count)] for split, count in NUM_DOCUMENTS.items()}
    labels = {
        split: [
            None if split == "train" and number % 10 == 9 else ("neg", "pos")[number % 2] for number in range(count)
        ]
        for split, count in NUM_DOCUMENTS.items()
    }
    return written_manifest(str(folder), splits, unit=unit, documents_per_shard=25, labels=labels)  # type: ignore[arg-type]


def classifier_spec(features: str = "bag_of_words", **changes: Any) -> RunSpec:
    """Returns a spec with 20 steps of 7 documents, epochs of 8 steps, and all random components enabled."""
    return tiny_spec(
        **{
            "windows__unit": "words" if features == "bag_of_words" else "characters",
            "classifier__features": features,
            "classifier__hidden_units": (9, 5),
            "classifier__hidden_activations": ("relu", "sigmoid"),
            "classifier__dropout": 0.3,
            "classifier__max_document_ids": 11,
            "model__dropout": 0.2,
            "training__order": "shuffled",
            "training__block_windows": 2,
            "training__global_batch_size": 7,
            "training__max_steps": 20,
            "training__learning_rate": 0.02,
            "training__validate_every_steps": 10,
            "training__record_steps": True,
        }
        | changes
    )
