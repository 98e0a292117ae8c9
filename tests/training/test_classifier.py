"""The training of a classifier: the same loop as a language model's, on documents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

pytest.importorskip("tensorflow")

from tests.labelled_windows import classifier_spec, labelled_manifest  # noqa: E402
from tests.rendezvous import Member, together  # noqa: E402
from tests.step_records import recorded  # noqa: E402
from tests.written_windows import tiny_spec, written_manifest  # noqa: E402
from textgen.errors import UserError  # noqa: E402
from textgen.evaluation.classifier_figures import classifier_figures  # noqa: E402
from textgen.evaluation.figures import evaluate  # noqa: E402
from textgen.evaluation.labelling import Labeller  # noqa: E402
from textgen.model.checkpoint import best_checkpoint, latest_checkpoint  # noqa: E402
from textgen.model.classifier import build_classifier  # noqa: E402
from textgen.presets import preset  # noqa: E402
from textgen.runs.plan import (  # noqa: E402
    TrainingPlan,
    check_resumable,
    inputs_per_row,
    num_classifier_parameters,
)
from textgen.runs.position import Run  # noqa: E402
from textgen.spec import RunSpec, override  # noqa: E402
from textgen.training.collective import Alone, Collective  # noqa: E402
from textgen.training.loop import train_worker  # noqa: E402
from textgen.windows.manifest import Manifest  # noqa: E402
from textgen.windows.word_vocabulary import WordVocabulary  # noqa: E402

FEATURES = ("bag_of_words", "language_model")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    """The same documents as words and as characters."""
    folder = tmp_path_factory.mktemp("windows")
    return {
        "bag_of_words": labelled_manifest(folder / "words"),
        "language_model": labelled_manifest(folder / "characters", unit="characters"),
    }


def train(
    manifest: Manifest, folder: Path, spec: RunSpec, *, collective: Collective | None = None, stop_at: int = 0
) -> dict[str, Any]:
    """Trains in this process and returns the outcome; interrupts at the report of the step `stop_at`."""

    def report(metrics: Mapping[str, Any]) -> None:
        if metrics["step"] == stop_at:
            raise InterruptedError

    run = Run(spec=spec, manifest_uri=manifest.uri, run_uri=str(folder), run_name="run")
    return train_worker(run, collective or Alone(), say=[].append, report=report)


@pytest.mark.parametrize(
    ("features", "is_mixed"), [("bag_of_words", False), ("language_model", False), ("language_model", True)]
)
def test_a_training_interrupted_in_mid_epoch_ends_bit_for_bit_like_an_uninterrupted_one(
    manifests: dict[str, Manifest], tmp_path: Path, features: str, is_mixed: bool
) -> None:
    spec = classifier_spec(features, training__mixed_precision=is_mixed)
    ended = train(manifests[features], tmp_path / "whole", spec)
    if is_mixed:
        exact = train(manifests[features], tmp_path / "exact", classifier_spec(features))
        assert ended["weights_sha256"] != exact["weights_sha256"]
        assert ended["loss"] == pytest.approx(exact["loss"], rel=0.02)
    with pytest.raises(InterruptedError):
        train(manifests[features], tmp_path / "cut", spec, stop_at=10)  # Of epochs of 8.
    train(manifests[features], tmp_path / "cut", spec)
    whole, cut = latest_checkpoint(str(tmp_path / "whole")), latest_checkpoint(str(tmp_path / "cut"))
    assert whole is not None
    assert cut is not None
    assert whole.metrics == cut.metrics
    for arrays in ("weights", "training_arrays"):
        one, other = getattr(whole, arrays), getattr(cut, arrays)
        assert one.keys() == other.keys()
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])
    assert recorded(str(tmp_path / "cut")).items() <= recorded(str(tmp_path / "whole")).items()


@pytest.mark.parametrize("features", FEATURES)
def test_two_workers_see_the_same_documents_and_validate_as_one(
    manifests: dict[str, Manifest], tmp_path: Path, features: str
) -> None:
    spec = classifier_spec(features, training__max_steps=9, training__validate_every_steps=9)
    alone = train(manifests[features], tmp_path / "one", spec)

    def work(member: Member) -> dict[str, Any]:
        return train(manifests[features], tmp_path / "two", spec, collective=member)

    for outcome in together(2, work):
        for name in ("loss", "val_loss", "calibration_temperature", "answer_threshold"):
            assert outcome[name] == pytest.approx(alone[name], rel=1e-3)
        assert outcome["val_accuracy"] == alone["val_accuracy"]
    one, two = recorded(str(tmp_path / "one")), recorded(str(tmp_path / "two"))
    assert {step: entry[0] for step, entry in one.items()} == {step: entry[0] for step, entry in two.items()}
    assert [entry[1] for entry in two.values()] == pytest.approx([entry[1] for entry in one.values()], rel=1e-4)


def test_a_classifier_learns_and_its_checkpoint_suffices_for_labels_and_figures(
    manifests: dict[str, Manifest], tmp_path: Path
) -> None:
    manifest = manifests["bag_of_words"]
    spec = classifier_spec(training__max_steps=120, classifier__dropout=0.0, classifier__answered_share=1.0)
    outcome = train(manifest, tmp_path, spec)
    assert outcome["val_accuracy"] == 1
    assert outcome["documents_per_second"] > 0
    checkpoint = best_checkpoint(str(tmp_path))
    assert checkpoint is not None
    assert checkpoint.classes == ("neg", "pos")
    figures = classifier_figures(checkpoint, manifest, split="test", say=[].append)
    assert (figures["accuracy"], figures["documents"], figures["macro_f1"]) == (1, 13, 1)
    assert figures["confusion"] == {"neg": {"neg": 7, "pos": 0}, "pos": {"neg": 0, "pos": 6}}
    assert evaluate(checkpoint.uri, split="test", say=[].append) | {"seconds": 0} == figures | {"seconds": 0}
    train_figures = classifier_figures(checkpoint, manifest, split="train", say=[].append)
    assert (train_figures["documents"], train_figures["documents_without_label"]) == (55, 6)

    labeller = Labeller(checkpoint)
    texts = [
        "A GREAT, funny, fine film",
        "the dull plot: awful film, WORST",
        "foo bar",
        "great foo bar",
        "",
        "the plot",
    ]
    results = labeller.label(texts)
    assert [result.label for result in results] == ["pos", "neg", None, None, None, None]
    assert results[0].unknown == ()
    assert results[2].unknown == ("foo", "bar")
    assert results[2].reason == "100% of its words are unknown"
    assert results[3].reason == "67% of its words are unknown"
    assert results[4].reason == "the text has no words"
    assert results[5].reason is not None
    assert results[5].reason.startswith("the confidence")
    assert [labeller.label([text])[0] for text in texts] == results  # Regardless of the other texts in the batch.

    with pytest.raises(UserError, match=r"is a classifier; give it to jobs\.classify"):
        checkpoint.build_model()


def test_a_bag_of_words_counts_as_one_input() -> None:
    spec = classifier_spec()
    assert spec.classifier.features == "bag_of_words"
    assert inputs_per_row(spec) == 1
    assert inputs_per_row(tiny_spec(windows__context_length=9, windows__stride=9)) == 9


def test_without_val_there_is_no_calibration(tmp_path: Path) -> None:
    texts = ["good film", "bad film"] * 6
    manifest = written_manifest(
        str(tmp_path / "windows"), {"train": texts}, unit="words", labels={"train": ["1", "0"] * 6}
    )
    outcome = train(manifest, tmp_path / "run", classifier_spec(training__max_steps=3))
    assert [outcome[name] for name in ("val_loss", "val_accuracy", "answer_threshold")] == [None] * 3
    checkpoint = best_checkpoint(str(tmp_path / "run"))
    assert checkpoint is not None
    assert Labeller(checkpoint).label(["good"])[0].likeliest in ("0", "1")


def test_the_plan_of_the_recipe_counts_its_published_layers() -> None:
    spec = preset("sentiment")
    vocabulary = WordVocabulary.of_words(str(number) for number in range(spec.windows.max_vocab_size - 2))
    expected = 3000 * 512 + 512 + 512 * 256 + 256 + 256 * 2 + 2
    assert num_classifier_parameters(spec, vocabulary, num_classes=2) == expected == 1_668_354


@pytest.mark.parametrize("features", FEATURES)
def test_the_planned_parameters_are_the_model_s(manifests: dict[str, Manifest], tmp_path: Path, features: str) -> None:
    spec = classifier_spec(features, training__max_steps=1)
    plan = TrainingPlan.of(spec, manifests[features])
    train(manifests[features], tmp_path, spec)
    checkpoint = latest_checkpoint(str(tmp_path))
    assert checkpoint is not None
    weights = build_classifier(checkpoint).get_weights_by_name()
    assert sum(array.size for array in weights.values()) == plan.num_parameters
    assert plan.lanes.num_windows == 55
    assert "55 documents of 2 labels (6 without a label left out)" in plan.describe(spec, num_workers=1)


def test_windows_of_another_unit_are_refused(manifests: dict[str, Manifest]) -> None:
    with pytest.raises(UserError, match=r"holds ids of characters, but the run reads words"):
        TrainingPlan.of(classifier_spec(), manifests["language_model"])
    with pytest.raises(UserError, match=r"holds ids of words, but the run reads characters"):
        TrainingPlan.of(tiny_spec(), manifests["bag_of_words"])


def test_another_classifier_is_not_the_same_run() -> None:
    spec = classifier_spec()
    with pytest.raises(UserError, match=r"classifier\.dropout \(0\.3 -> 0\.1\)"):
        check_resumable(spec, override(spec, {"classifier.dropout": 0.1}), run_uri="runs/one")
