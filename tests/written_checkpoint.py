"""Checkpoints of small models that nobody trained, for tests of what reads one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.labelled_windows import BAD, GOOD, classifier_spec
from textgen.model.checkpoint import Checkpoint
from textgen.presets import preset
from textgen.spec import override
from textgen.windows.conditions import Condition
from textgen.windows.vocabulary import Vocabulary
from textgen.windows.word_vocabulary import WordVocabulary


def write_checkpoint(
    folder: Path,
    *,
    conditions: tuple[Condition, ...] = (),
    separator: str | None = None,
    changes: Mapping[str, Any] | None = None,
    **sampling: Any,
) -> str:
    """Writes a checkpoint of the run `untrained` with these (sampling) settings and returns its URI."""
    from textgen.model.language_model import LanguageModel

    layers = {"model.embedding_dim": 5, "model.units": 13, "model.num_layers": 2}
    drawn = {f"sampling.{name}": value for name, value in sampling.items()}
    spec = override(preset("tiny"), {**layers, **(changes or {}), **drawn})
    vocabulary = Vocabulary(
        unit="characters", symbols=tuple(map(ord, sorted(" abcehté"))), separator=separator, conditions=conditions
    )
    model = LanguageModel(spec.model, vocab_size=vocabulary.size, controls=vocabulary.controls, seed=3)
    checkpoint = Checkpoint(
        uri=str(folder),
        spec=spec,
        vocabulary=vocabulary,
        run_name="untrained",
        manifest_uri="",
        manifest_hash="",
        position={"step": 0},
        metrics={},
    )
    return checkpoint.save(weights=model.get_weights_by_name()).uri


def write_classifier(folder: Path) -> str:
    """Writes a classifier made by hand: a good word speaks for `pos`, a bad one for `neg`, any other for nothing."""
    import numpy as np

    from textgen.model.classifier import Classifier

    spec = classifier_spec(classifier__hidden_units=(), classifier__hidden_activations=())
    vocabulary = WordVocabulary.of_words([*GOOD, *BAD, "film"])
    model = Classifier(spec, num_words=7, vocab_size=vocabulary.size, num_classes=2)
    votes = np.array([1.0] * 3 + [-1.0] * 3 + [0.0], np.float32)
    weights = {"labels/kernel": np.stack([-votes, votes], axis=1), "labels/bias": np.zeros(2, np.float32)}
    model.set_weights_by_name(weights)
    checkpoint = Checkpoint(
        uri=str(folder),
        spec=spec,
        vocabulary=vocabulary,
        run_name="by-hand",
        manifest_uri="",
        manifest_hash="",
        position={"step": 0},
        metrics={"calibration_temperature": 2.0, "answer_threshold": 0.7},
        classes=("neg", "pos"),
    )
    return checkpoint.save(weights=weights).uri
