"""Held controls: the latest ones are read beside every id, alike in windows, in steps and in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

tf = pytest.importorskip("tensorflow")

from textgen.model.dropout import DropoutKey  # noqa: E402
from textgen.model.held_conditions import held_conditions  # noqa: E402
from textgen.model.language_model import LanguageModel  # noqa: E402
from textgen.runs.plan import num_parameters  # noqa: E402
from textgen.spec import ModelSpec  # noqa: E402

CONTROLS = (range(7, 10), range(10, 12))
V, B = 12, 4
SPECS = {
    "embedding": ModelSpec(embedding_dim=4, units=6),
    "one-hot, two layers": ModelSpec(input="one_hot", units=5, num_layers=2),
    "gru": ModelSpec(cell="gru", embedding_dim=3, units=7),
}


def model_of(spec: ModelSpec) -> LanguageModel:
    """Returns a model whose logits depend on its held controls."""
    model = LanguageModel(spec, vocab_size=V, controls=CONTROLS, seed=2)
    model.held.embeddings.assign(np.random.default_rng(3).normal(size=model.held.embeddings.shape))
    return model


def ids_of(length: int, *, seed: int = 0) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Returns ids, [B, length]; about a third are controls."""
    generator = np.random.default_rng(seed)
    is_control = generator.random((B, length)) < 0.3
    ids: np.ndarray[Any, np.dtype[np.int32]] = np.where(
        is_control, generator.integers(7, V, (B, length)), generator.integers(0, 7, (B, length))
    ).astype(np.int32)
    return ids


def held_one_by_one(ids: Any, before: Any) -> Any:
    held, rows = np.array(before, dtype=np.int32), []
    for column in ids.T:
        for place, controls in enumerate(CONTROLS):
            held[:, place] = np.where(np.isin(column, controls), column, held[:, place])
        rows.append(held.copy())
    return np.stack(rows, axis=1)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 21])
def test_each_condition_holds_its_latest_control(length: int) -> None:
    before = np.array([[0, 0], [8, 0], [0, 11], [9, 10]], np.float32)
    for seed in range(5):
        ids = ids_of(length, seed=seed)
        found = held_conditions(tf.constant(ids), tf.constant(before), CONTROLS)
        np.testing.assert_array_equal(found, held_one_by_one(ids, before))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_windows_steps_and_training_read_the_same(spec: ModelSpec) -> None:
    model, ids = model_of(spec), ids_of(9)
    whole, end = model(ids, model.initial_state(B))
    np.testing.assert_array_equal(end[-1], held_one_by_one(ids, np.zeros((B, 2)))[:, -1])
    first, state = model(ids[:, :4], model.initial_state(B))
    second, state = model(ids[:, 4:], state)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-5)
    key = DropoutKey(seed=1, step=tf.constant(2, tf.int64), first_row=0)
    trained, trained_end = model(tf.constant(ids), model.initial_state(B), dropout=key)
    np.testing.assert_allclose(trained, whole, atol=1e-5)
    stepped = model.initial_state(B)
    for position in range(9):
        logits, stepped = model.step(tf.constant(ids[:, position]), stepped)
        np.testing.assert_allclose(logits, whole[:, position], atol=1e-5)
    for parts in zip(end, state, trained_end, stepped, strict=True):
        for part in parts[1:]:
            np.testing.assert_allclose(part, parts[0], atol=1e-5)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_new_model_ignores_held_controls(spec: ModelSpec) -> None:
    conditioned, plain = (LanguageModel(spec, vocab_size=V, controls=controls, seed=2) for controls in (CONTROLS, ()))
    ids = ids_of(9)
    np.testing.assert_array_equal(
        conditioned(ids, conditioned.initial_state(B))[0], plain(ids, plain.initial_state(B))[0]
    )


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_plan_counts_the_parameters_of_a_conditioned_model(spec: ModelSpec) -> None:
    for controls in (CONTROLS, ()):
        model = LanguageModel(spec, vocab_size=V, controls=controls)
        assert model.count_params() == num_parameters(spec, vocab_size=V, is_conditioned=bool(controls))
        names = list(model.variables_by_name())
        assert sorted(names) == sorted(name for group in model.layer_groups() for name in group)


def test_the_stored_name_of_held_controls_never_changes() -> None:
    """Checkpoints store weights by name; another name would make old ones unreadable."""
    assert model_of(SPECS["gru"]).variables_by_name().keys() >= {"told/embeddings"}


def test_only_the_rows_of_controls_learn() -> None:
    model, ids = model_of(SPECS["embedding"]), ids_of(9)
    table = model.held.embeddings.value
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(ids, model.initial_state(B))[0] ** 2)
    gradient = tf.convert_to_tensor(tape.gradient(loss, table)).numpy()
    held = set(held_one_by_one(ids, np.zeros((B, 2))).ravel().tolist()) - {0}
    assert len(held) >= 4
    assert set(np.flatnonzero(np.abs(gradient).max(axis=1)).tolist()) == held


@pytest.mark.parametrize(
    ("spec", "controls"),
    [
        (ModelSpec(embedding_dim=4, units=6, hold_conditions=False), CONTROLS),
        (ModelSpec(embedding_dim=4, units=6), ()),
        (ModelSpec(input="scaled", units=6), CONTROLS),
    ],
    ids=["read once", "no conditions", "scaled"],
)
def test_without_held_controls_the_state_is_that_of_the_units(spec: ModelSpec, controls: tuple[range, ...]) -> None:
    model = LanguageModel(spec, vocab_size=V, controls=controls)
    assert [part.shape for part in model.initial_state(B)] == [(B, 6), (B, 6)]
    assert len(model(ids_of(5), model.initial_state(B))[1]) == 2


def test_the_states_of_units_precede_the_held_controls() -> None:
    model = LanguageModel(SPECS["one-hot, two layers"], vocab_size=V, controls=CONTROLS)
    state = model.initial_state(B)
    assert [part.shape for part in state] == [(B, 5)] * 4 + [(B, 2)]
    assert model.unit_states(state) == state[:4]
