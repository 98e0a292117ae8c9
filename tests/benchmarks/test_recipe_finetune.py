"""The fine-tuning recipe: the trainings that it compares, with invented results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.recipes import finetune
from benchmarks.recipes.result import DataAbsentError
from benchmarks.recipes.runs import Trained
from tests.recipe_helpers import quickly
from tests.written_windows import tiny_spec
from textgen.model.checkpoint import Checkpoint
from textgen.runs.plan import TrainingPlan
from textgen.spec import RunSpec
from textgen.windows.manifest import Manifest
from textgen.windows.vocabulary import Vocabulary

BITS = {"discriminative": 1.5, "anew-0.016": 2.0}
"""Invented figures; all others have 3 bits."""


def source_at(folder: Path) -> Checkpoint:
    return Checkpoint(
        uri=str(folder),
        spec=tiny_spec(model__units=13),
        vocabulary=Vocabulary.from_counts({97: 1}, unit="characters"),
        run_name="reviews",
        manifest_uri="",
        manifest_hash="",
        position={"step": 7},
        metrics={"loss": 1.0},
    ).save(weights={"logits/bias": np.zeros(3)})


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[RunSpec, str | None, int]]:
    """Requested trainings: name -> spec, source, number of steps."""
    asked: dict[str, tuple[RunSpec, str | None, int]] = {}

    def trained(
        spec: RunSpec, windows: Path, folder: Path, name: str, *, source: str | None = None, say: Any
    ) -> Trained:
        manifest = Manifest.load(str(windows))
        asked[name] = (spec, source, TrainingPlan.of(spec, manifest).num_steps)
        checkpoint = Checkpoint(
            uri=name,
            spec=spec,
            vocabulary=manifest.vocabulary,
            run_name=name,
            manifest_uri=manifest.uri,
            manifest_hash="",
            position={"step": 1},
            metrics={"val_bits_per_character": BITS.get(name, 3.0)},
        )
        return Trained(checkpoint=checkpoint, last=checkpoint, history=({"step": asked[name][2], "seconds": 9.0},))

    small = {"corpus.min_split_documents": 2, "windows.context_length": 8, "windows.stride": 8}
    quickly(monkeypatch, finetune, {"finetune": small})
    monkeypatch.setattr(finetune, "trained", trained)
    monkeypatch.setattr(finetune, "test_bits", lambda checkpoint: BITS.get(checkpoint.uri, 3.0) + 0.1)
    return asked


def test_techniques_are_added_one_by_one_and_compared_at_equal_steps(
    tmp_path: Path, runs: dict[str, tuple[RunSpec, str | None, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tweets = [f"{i},b'The {'CAT' if i % 3 else 'Car'} sat {i} times'" for i in range(60)]
    (tmp_path / "data" / "tweets").mkdir(parents=True)
    (tmp_path / "data" / finetune.TWEETS).write_text("\n".join(["id,text", *tweets]))
    source = source_at(tmp_path / "source")
    monkeypatch.setattr(finetune, "film_model", lambda *_, **__: Path(source.uri))
    result = finetune.run(tmp_path / "runs", data=tmp_path / "data", scale=0.5, say=lambda _: None)
    techniques = {
        name: (spec.training.unfreeze_every_steps is not None, spec.training.layer_rate_factor, spec.training.decay)
        for name, (spec, _, _) in runs.items()
    }
    assert techniques["plain"] == (False, 1.0, "cosine")
    assert techniques["unfreezing"] == (True, 1.0, "cosine")
    assert techniques["discriminative"] == (True, 2.6, "cosine")
    assert techniques["one-cycle"] == (True, 2.6, "one_cycle")
    anew = [name for name in runs if name.startswith("anew")]
    assert {name for name, (_, given, _) in runs.items() if given is None} == set(anew)
    assert all(runs[name][0].model == source.spec.model for name in anew)
    steps = {name: num_steps for name, (_, _, num_steps) in runs.items() if "capitals" not in name}
    assert steps.pop("anew-long") == finetune.LONG_FACTOR * steps["plain"]
    assert len(set(steps.values())) == 1
    assert runs["anew-long"][0].training.learning_rate == 0.016  # The better one on `val`.
    assert runs["capitals-marks"][0].corpus.rules[-4:] == finetune.MARKS
    tuned, scratch, _, counted = result.figures
    assert (tuned.faithful, tuned.best, scratch.best) == (3.1, 1.6, 2.1)
    assert counted.best is not None
    assert 0 < counted.best < 5


def test_missing_tweets_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataAbsentError, match=r"elonmusk_tweets\.csv"):
        finetune.run(tmp_path, data=tmp_path, scale=1.0, say=lambda _: None)
