"""Logits of documents in any batch, and the rules of abstention."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

pytest.importorskip("tensorflow")

from tests.labelled_windows import classifier_spec  # noqa: E402
from textgen.evaluation.document_scoring import NUM_ROWS, Abstention, Calibration, DocumentScorer  # noqa: E402
from textgen.model.classifier import Classifier  # noqa: E402
from textgen.windows.vocabulary import Vocabulary  # noqa: E402

VOCABULARY = Vocabulary(unit="characters", symbols=tuple(range(97, 110)))


@pytest.mark.parametrize("max_ids", [5, 300])
def test_a_document_is_scored_the_same_in_any_batch(max_ids: int) -> None:
    spec = classifier_spec("language_model", classifier__max_document_ids=max_ids)
    model = Classifier(spec, num_words=13, vocab_size=VOCABULARY.size, num_classes=3, seed=2)
    scorer = DocumentScorer(model, VOCABULARY, num_classes=3)
    rng = np.random.default_rng(4)
    documents = [rng.integers(2, 15, rng.integers(0, 200)).astype(np.uint8) for _ in range(NUM_ROWS + 9)]
    logits = scorer.logits(documents)
    assert logits.shape == (NUM_ROWS + 9, 3)
    for place in (0, 7, NUM_ROWS + 8):
        np.testing.assert_allclose(scorer.logits([documents[place]])[0], logits[place], atol=1e-5)
    np.testing.assert_allclose(scorer.logits(documents[::-1]), logits[::-1], atol=1e-5)
    kept = [document[-max_ids:] for document in documents]
    np.testing.assert_allclose(scorer.logits(kept), logits, atol=1e-5)
    assert scorer.logits([]).shape == (0, 3)
    assert scorer.pooled(documents[:3]).shape == (3, 3 * spec.model.units)


@pytest.mark.parametrize(
    ("shares", "num_ids", "num_unknown", "reason"),
    [
        ([0.1, 0.9], 10, 4, None),
        ([0.9, 0.1], 10, 0, None),
        ([0.1, 0.9], 0, 0, "the text has no words"),
        ([0.1, 0.9], 10, 5, "50% of its words are unknown"),
        ([0.39, 0.61], 10, 0, "the confidence 0.61 is below 0.65"),
        ([0.3, 0.7], 10, 0, "the confidence 0.70 is no more than that of an empty text, 0.72"),
        ([0.7, 0.3], 10, 0, None),
    ],
)
def test_it_abstains_without_evidence(shares: list[float], num_ids: int, num_unknown: int, reason: str | None) -> None:
    abstention = Abstention(unit="words", max_unknown_share=0.4, threshold=0.65, empty=np.array([0.28, 0.72]))
    assert abstention.reason(np.array(shares), num_ids=num_ids, num_unknown=num_unknown) == reason


def test_a_checkpoint_without_validations_is_not_calibrated() -> None:
    assert Calibration.of({"calibration_temperature": None, "answer_threshold": None}) == Calibration()
    found = Calibration.of({"calibration_temperature": 2.5, "answer_threshold": 0.6, "loss": 1.0})
    assert (found.temperature, found.threshold) == (2.5, 0.6)
