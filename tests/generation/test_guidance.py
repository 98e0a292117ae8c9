"""Guidance: conditioned and unconditioned logits, combined by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from textgen.errors import UserError
from textgen.generation.stream import Request
from textgen.spec import ModelSpec, SamplingSpec
from textgen.windows.conditions import Condition
from textgen.windows.vocabulary import Vocabulary

pytestmark = pytest.mark.tensorflow

VOCABULARY = Vocabulary(
    unit="characters",
    symbols=tuple(map(ord, "abc")),
    conditions=(Condition(column="label", values=("1", "5")), Condition(column="category", values=("tea",))),
)
"""Ids: 0 UNKNOWN, 1 END, 2 a, 3 b, 4 c, 5 to 7 label=none, 1, 5, and 8 to 9 category=none, tea."""


def language_model() -> Any:
    from textgen.model.language_model import LanguageModel

    spec = ModelSpec(embedding_dim=5, units=7, num_layers=2)
    model = LanguageModel(spec, vocab_size=VOCABULARY.size, controls=VOCABULARY.controls, seed=4)
    for variable in model.variables_by_name().values():
        variable.assign(3 * variable)
    model.held.embeddings.assign(np.random.default_rng(5).normal(size=model.held.embeddings.shape))
    return model


def test_controls_read_as_their_none() -> None:
    from textgen.generation.guidance import unconditioned_ids

    assert unconditioned_ids(VOCABULARY).tolist() == [0, 1, 2, 3, 4, 5, 5, 5, 8, 8]


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_guidance_extrapolates_from_unconditioned_to_conditioned_logits(guidance: float) -> None:
    from textgen.generation.guidance import GuidedModel

    model = language_model()
    guided = GuidedModel(model, VOCABULARY, guidance=guidance)
    conditioned = np.array([[6, 9, 2, 4], [7, 8, 3, 2], [5, 8, 4, 4]], np.int32)  # [S, 4]
    unconditioned = np.array([[5, 8, 2, 4], [5, 8, 3, 2], [5, 8, 4, 4]], np.int32)
    state = guided.initial_state(3)
    for position in range(4):
        logits, state = guided.step(conditioned[:, position], state)
    with_condition, without = (
        model(ids, model.initial_state(3))[0].numpy()[:, -1] for ids in (conditioned, unconditioned)
    )
    expected = without + guidance * (with_condition - without)
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(with_condition - without)[:2].max() > 0.01


def test_a_completion_depends_only_on_its_own_condition() -> None:
    from textgen.generation.engine import Engine
    from textgen.generation.guidance import GuidedModel

    engine = Engine(GuidedModel(language_model(), VOCABULARY, guidance=3.0), VOCABULARY, num_slots=4)
    settings = SamplingSpec(temperature=1.0, max_new_chars=50)
    wanted = Request(prompt="ab", settings=settings, condition={"label": 1})
    others = [Request(prompt="", settings=settings, index=index, condition={"label": 5}) for index in range(7)]
    (alone,) = engine.generate([wanted])
    assert engine.generate([*others[:3], wanted, *others[3:]])[3] == alone
    assert set(alone.completion) <= set("abc")


@pytest.mark.parametrize("guidance", [-1.0, float("inf"), float("nan")])
def test_invalid_guidance_and_models_without_conditions_are_refused(guidance: float) -> None:
    from textgen.generation.guidance import GuidedModel

    with pytest.raises(UserError, match=f"--guidance is {guidance}; use a number of at least 0"):
        GuidedModel(language_model(), VOCABULARY, guidance=guidance)
    plain = Vocabulary(unit="characters", symbols=VOCABULARY.symbols)
    with pytest.raises(UserError, match="trained without conditions; leave --guidance out"):
        GuidedModel(language_model(), plain, guidance=2.0)
