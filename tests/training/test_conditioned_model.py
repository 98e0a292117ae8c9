"""From labelled texts to conditioned completions: ingest, training and generation."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ingest_helpers import ingested, run_serially, spec_with
from textgen.generation.completions import Prompt, engine_of, requests_of
from textgen.ingest import pipeline as ingest_module
from textgen.model.checkpoint import Checkpoint, find_checkpoint
from textgen.spec import SamplingSpec

pytestmark = pytest.mark.tensorflow

WORDS = {"1": "bad", "5": "fine"}
SETTINGS: dict[str, Any] = {
    "corpus__condition_on": ("label",),
    "corpus__condition_none_share": 0.2,
    "model__units": 24,
    "model__embedding_dim": 8,
    "windows__context_length": 20,
    "windows__stride": 20,
    "training__max_steps": 250,
    "training__optimizer": "adam",
    "training__learning_rate": 2e-2,
    "training__validate_every_steps": 250,
    "training__sample_chars": 20,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A model of texts such as `bad 37`, whose first word depends on the stars only."""
    return trained_on(lambda word, number: f"{word} {number}", tmp_path_factory.mktemp("conditioned"))


def trained_on(text_of: Callable[[str, int], str], folder: Path, **changes: Any) -> Checkpoint:
    from textgen.runs.position import Run
    from textgen.training.loop import train_alone

    settings = SETTINGS | changes
    drawn = random.Random(1)
    rows = [(drawn.choice("15"), number) for number in range(600)]
    lines = ["star_rating\treview_body", *(f"{stars}\t{text_of(WORDS[stars], number)}" for stars, number in rows)]
    (folder / "reviews.tsv").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest_module, "run_tasks", run_serially)
        _, manifest = ingested([str(folder / "reviews.tsv")], folder / "windows", **settings)
    run = Run(spec=spec_with(**settings), manifest_uri=manifest.uri, run_uri=str(folder / "run"), run_name="run")
    train_alone(run, say=lambda _: None, report=lambda _: None)
    return find_checkpoint(run.run_uri)


def first_words(checkpoint: Checkpoint, condition: dict[str, Any], *, guidance: float = 1.0) -> list[str]:
    settings = SamplingSpec(temperature=1.0, max_new_chars=12, n=40)
    requests = requests_of([Prompt(text="")], settings, condition=condition)
    completions = engine_of(checkpoint, guidance=guidance).generate(requests)
    return [completion.completion.split(" ")[0] for completion in completions]


def test_completions_follow_their_condition(checkpoint: Checkpoint) -> None:
    for stars, word in WORDS.items():
        assert first_words(checkpoint, {"stars": stars}).count(word) >= 32
    unconditioned = first_words(checkpoint, {})
    assert min(unconditioned.count(word) for word in WORDS.values()) >= 8
    assert sum(unconditioned.count(word) for word in WORDS.values()) >= 30


def test_guidance_extrapolates_from_unconditioned_to_conditioned(checkpoint: Checkpoint) -> None:
    assert first_words(checkpoint, {"stars": 5}, guidance=1.5).count("fine") >= 32
    unconditioned = first_words(checkpoint, {"stars": 5}, guidance=0.0)
    assert min(unconditioned.count(word) for word in WORDS.values()) >= 8


def test_a_condition_reaches_further_than_a_window(tmp_path: Path) -> None:
    digits = random.Random(2)

    def text_of(word: str, number: int) -> str:
        return f"{number} {digits.randrange(10**15, 10**16)} {word}"

    checkpoint = trained_on(text_of, tmp_path, windows__context_length=10, windows__stride=10, training__max_steps=500)
    settings = SamplingSpec(temperature=0.5, max_new_chars=50, n=20)
    for stars, word in WORDS.items():
        requests = requests_of([Prompt(text="")], settings, condition={"stars": stars})
        texts = [completion.completion for completion in engine_of(checkpoint).generate(requests)]
        assert sum(text.endswith(word) for text in texts) >= 18
