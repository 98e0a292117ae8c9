"""The shared steps of the recipes' runs, without training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.recipes import runs
from benchmarks.recipes.runs import changed_fields, ingested, kept, trained_within
from textgen import presets
from textgen.settings import parse_settings
from textgen.spec import RunSpec, override

LAST = {"step": 60, "seconds": 27.0}


def test_changes_are_passed_to_the_job_as_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[Any, ...]] = []

    def job(*arguments: object, say: object) -> dict[str, int]:
        called.append(arguments)
        return {"documents": 3}

    monkeypatch.setattr(runs, "job", job)
    tweets, best = presets.preset("tweets"), presets.preset("tweets_best")
    changes = changed_fields(tweets, best, "corpus")
    assert {"corpus.val_share", "corpus.rules", "corpus.drop_containing", "corpus.document_order"} <= set(changes)
    assert ingested("tweets", tmp_path / "in", tmp_path / "out", changes, say=print) == {"documents": 3}
    ((name, *words),) = called
    assert (name, words[:2], words[4:6]) == ("ingest", ["--source", tmp_path / "in"], ["--output", tmp_path / "out"])
    settings = parse_settings([words[place + 1] for place, word in enumerate(words) if word == "--set"])
    assert override(tweets, settings).corpus == best.corpus


def test_a_training_gets_the_steps_that_fit_into_the_time_and_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, int | None]] = []

    def trained(spec: RunSpec, windows: Path, folder: Path, name: str, *, say: object) -> SimpleNamespace:
        begun.append((name, spec.training.max_steps))
        # 7 seconds for the first 20 steps, including compilation, then half a second each.
        return SimpleNamespace(history=({"step": 20, "seconds": 7.0}, {"step": 40, "seconds": 17.0}, LAST))

    monkeypatch.setattr(runs, "trained", trained)
    for _ in range(2):
        trained_within(100.0, presets.preset("tiny"), tmp_path, tmp_path, "tiny", say=lambda _: None)
    assert begun == [("tiny-pace", 60), ("tiny", 20 + 93 * 2), ("tiny", 20 + 93 * 2)]


def test_measurements_are_kept(tmp_path: Path) -> None:
    measured = iter([{"bits": 1.5, "text": "שלום"}])
    place = tmp_path / "folder" / "figures.json"
    first = kept(place, lambda: next(measured))
    assert first == kept(place, lambda: next(measured)) == {"bits": 1.5, "text": "שלום"}
