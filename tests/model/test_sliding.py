"""The sliding form of a model: it depends only on the last ids, for every cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.written_windows import tiny_spec
from textgen.spec import ModelSpec

pytestmark = pytest.mark.tensorflow

V, B, LENGTH, T = 11, 3, 9, 4
SPECS = {
    "lstm": ModelSpec(embedding_dim=4, units=6, num_layers=2),
    "one-hot, gru": ModelSpec(input="one_hot", cell="gru", units=5),
    "conditioned": ModelSpec(embedding_dim=4, units=6),
    "scaled, other widths": ModelSpec(input="scaled", num_layers=2, layer_units=(7, 5), dense_units=8),
}
CONTROLS = (range(7, 9), range(9, 11))
"""Control ids of a condition."""
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def models_of(spec: ModelSpec) -> tuple[Any, Any]:
    """Returns a model, with weights large enough for a carried state to matter, and its sliding form."""
    from textgen.model.language_model import LanguageModel
    from textgen.model.sliding import SlidingModel

    model = LanguageModel(spec, vocab_size=V, controls=CONTROLS if spec == SPECS["conditioned"] else (), seed=4)
    for variable in model.variables_by_name().values():
        variable.assign(2 * variable)
    return model, SlidingModel(model, context_length=T)


def ids_of() -> Any:
    return np.random.default_rng(0).integers(0, V, (B, LENGTH)).astype(np.int32)


@every_spec
def test_logits_are_those_of_the_last_ids_read_from_a_zero_state(spec: ModelSpec) -> None:
    model, sliding = models_of(spec)
    ids, state = ids_of(), sliding.initial_state(B)
    for end in range(1, LENGTH + 1):
        logits, state = sliding.step(ids[:, end - 1], state)
        expected, _ = model(ids[:, max(0, end - T) : end], model.initial_state(B))
        np.testing.assert_allclose(logits, expected[:, -1], atol=1e-5)
    carried, _ = model(ids, model.initial_state(B))
    assert np.abs(carried[:, -1] - logits).max() > 1e-3


@every_spec
def test_a_call_equals_steps_and_continues_from_a_state(spec: ModelSpec) -> None:
    _, sliding = models_of(spec)
    ids, state = ids_of(), sliding.initial_state(B)
    stepped = []
    for position in range(LENGTH):
        logits, state = sliding.step(ids[:, position], state)
        stepped.append(logits)
    first, middle = sliding(ids[:, :2], sliding.initial_state(B))
    second, end = sliding(ids[:, 2:], middle)
    assert first.shape == (B, 2, V)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), np.stack(stepped, axis=1), atol=1e-5)
    for one, other in zip(end, state, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_only_models_trained_with_loss_at_last_slide() -> None:
    from textgen.model.sliding import SlidingModel, as_trained

    model, _ = models_of(SPECS["lstm"])
    assert as_trained(model, tiny_spec()) is model
    assert model.lead_ids == 0
    last = tiny_spec(training__loss_at="last", training__order="shuffled", windows__context_length=13)
    slides = as_trained(model, last)
    assert isinstance(slides, SlidingModel)
    assert slides.lead_ids == 12
    assert slides.initial_state(B)[0].shape == (B, 13, 6)
