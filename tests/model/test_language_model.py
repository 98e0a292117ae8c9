"""The language model: steps equal one call over a window; seeds determine weights and masks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from textgen import presets
from textgen.errors import UserError
from textgen.spec import ModelSpec

pytestmark = pytest.mark.tensorflow

V, B, T = 11, 3, 8
SPECS = {
    "embedding": ModelSpec(embedding_dim=4, units=6),
    "one-hot, two layers": ModelSpec(input="one_hot", units=5, num_layers=2, dropout=0.5),
    "dense": ModelSpec(embedding_dim=3, units=7, num_layers=2, dense_units=9),
    "one-hot, dense": ModelSpec(input="one_hot", units=4, dense_units=13),
    "gru": ModelSpec(cell="gru", embedding_dim=4, units=6, num_layers=2),
    "one-hot, gru, other widths": ModelSpec(input="one_hot", cell="gru", num_layers=2, layer_units=(7, 5)),
    "scaled, other widths": ModelSpec(input="scaled", num_layers=3, layer_units=(7, 5, 6), dense_units=8),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def model_of(spec: ModelSpec, *, seed: int = 0, vocab_size: int = V) -> Any:
    from textgen.model.language_model import LanguageModel

    return LanguageModel(spec, vocab_size=vocab_size, seed=seed)


def ids_of(seed: int = 0) -> Any:
    import tensorflow as tf

    return tf.constant(np.random.default_rng(seed).integers(0, V, (B, T)), tf.int32)


def key_of(*, seed: int = 3, step: int = 5, first_row: int = 0) -> Any:
    import tensorflow as tf

    from textgen.model.dropout import DropoutKey

    return DropoutKey(seed=seed, step=tf.constant(step, tf.int64), first_row=first_row)


def mask_of(rows: int, time: int = 5, units: int = 7, *, rate: float = 0.4, layer: int = 0, **key: int) -> Any:
    """Returns a dropout mask, shape [rows, time, units]; a row has 35 numbers, not a multiple of four."""
    import tensorflow as tf

    from textgen.model.dropout import dropout_mask

    return dropout_mask(tf.constant([rows, time, units]), rate=rate, key=key_of(**key), layer=layer).numpy()


@every_spec
def test_steps_equal_one_call(spec: ModelSpec) -> None:
    model, ids = model_of(spec), ids_of()
    logits, end = model(ids, model.initial_state(B))
    assert logits.shape == (B, T, V)
    state = model.initial_state(B)
    for position in range(T):
        one, state = model.step(ids[:, position], state)
        np.testing.assert_allclose(one, logits[:, position], atol=1e-5)
    widths = [width for width in spec.widths for _ in range(2 if spec.cell == "lstm" else 1)]
    for stepped, called, width in zip(state, end, widths, strict=True):
        assert stepped.shape == called.shape == (B, width)
        np.testing.assert_allclose(stepped, called, atol=1e-5)


@every_spec
def test_mixed_precision_rounds_the_same_function(spec: ModelSpec) -> None:
    import tensorflow as tf

    from textgen.model.language_model import LanguageModel

    exact, mixed = model_of(spec), LanguageModel(spec, vocab_size=V, mixed_precision=True)
    ids, key = ids_of(), key_of()
    with tf.GradientTape() as tape:
        logits, state = mixed(ids, mixed.initial_state(B), dropout=key)
    expected, expected_state = exact(ids, exact.initial_state(B), dropout=key)
    assert not np.array_equal(logits, expected)
    np.testing.assert_allclose(logits, expected, atol=0.02)
    for one, other in zip(state, expected_state, strict=True):
        np.testing.assert_allclose(one, other, atol=0.02)
    for value in (*tape.gradient(logits, mixed.trainable_variables), logits, *state, *mixed.trainable_variables):
        assert tf.convert_to_tensor(value).dtype == tf.float32
    stepped, _ = mixed.step(ids[:, -1], mixed.initial_state(B))
    np.testing.assert_allclose(stepped, exact.step(ids[:, -1], exact.initial_state(B))[0], atol=0.02)


@every_spec
def test_last_only_gives_the_last_logits_of_a_full_call(spec: ModelSpec) -> None:
    model, ids = model_of(spec), ids_of()
    whole, end = model(ids, model.initial_state(B))
    last, last_end = model(ids, model.initial_state(B), last_only=True)
    assert last.shape == (B, 1, V)
    np.testing.assert_allclose(last[:, 0], whole[:, -1], atol=1e-6)
    for one, other in zip(last_end, end, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@every_spec
def test_a_carried_state_equals_one_long_call(spec: ModelSpec) -> None:
    model, ids = model_of(spec), ids_of()
    whole, end = model(ids, model.initial_state(B))
    first, state = model(ids[:, :3], model.initial_state(B))
    second, state = model(ids[:, 3:], state)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-5)
    for carried, called in zip(state, end, strict=True):
        np.testing.assert_allclose(carried, called, atol=1e-5)
    forgetful, _ = model(ids[:, 3:], model.initial_state(B))
    assert np.abs(forgetful - whole[:, 3:]).max() > 1e-3


@every_spec
def test_the_plan_counts_the_parameters(spec: ModelSpec) -> None:
    from textgen.runs.plan import num_parameters

    assert model_of(spec).count_params() == num_parameters(spec, vocab_size=V)
    arrays = model_of(spec).get_weights_by_name()
    assert sum(array.size for array in arrays.values()) == num_parameters(spec, vocab_size=V)


def test_the_tweets_model_has_the_published_size() -> None:
    assert model_of(presets.preset("tweets").model, vocab_size=130).count_params() == 280_962


def test_the_novel_model_has_the_size_of_its_recipe() -> None:
    spec = ModelSpec(input="scaled", num_layers=3, layer_units=(256, 256, 128), dropout=0.2)
    # 4 * 256 * (1 + 256 + 1), 4 * 256 * (256 + 256 + 1), 4 * 128 * (256 + 128 + 1), (128 + 1) * 40.
    assert model_of(spec, vocab_size=40).count_params() == 264_192 + 525_312 + 197_120 + 5_160


def test_a_gru_has_the_size_that_keras_gives_it() -> None:
    # 3 * 6 * (4 + 6) weights, two biases of 3 * 6, an embedding of 11 * 4, logits of (6 + 1) * 11.
    assert model_of(ModelSpec(cell="gru", embedding_dim=4, units=6)).count_params() == 180 + 36 + 44 + 77


def test_a_scaled_id_is_one_number() -> None:
    model = model_of(SPECS["scaled, other widths"])
    assert model.variables_by_name()["lstm_1/kernel"].shape == (1, 4 * 7)
    np.testing.assert_allclose(model._input(np.array([[0, 3], [10, 1]]), None), np.array([[[0], [3]], [[10], [1]]]) / V)


@every_spec
def test_a_seed_determines_the_initial_weights(spec: ModelSpec) -> None:
    one, same, other = (model_of(spec, seed=seed).get_weights_by_name() for seed in (4, 4, 5))
    assert list(one) == list(same)
    for name, array in one.items():
        np.testing.assert_array_equal(array, same[name])
        if "bias" not in name:
            assert np.abs(array - other[name]).max() > 1e-3
    matrices = [array for name, array in one.items() if "bias" not in name]
    assert len({array.tobytes() for array in matrices}) == len(matrices)


def test_layers_of_equal_shape_get_different_weights() -> None:
    weights = model_of(ModelSpec(embedding_dim=6, units=6, num_layers=3)).get_weights_by_name()
    kernels = [weights[f"lstm_{layer}/{name}"] for layer in (1, 2, 3) for name in ("kernel", "recurrent_kernel")]
    assert len({kernel.tobytes() for kernel in kernels}) == 6


@every_spec
def test_weights_go_from_one_model_to_another(spec: ModelSpec) -> None:
    source, target = model_of(spec, seed=1), model_of(spec, seed=2)
    state = source.initial_state(B)
    before = target(ids_of(), state)[0].numpy()
    target.set_weights_by_name(source.get_weights_by_name())
    expected = source(ids_of(), state)[0].numpy()
    np.testing.assert_array_equal(target(ids_of(), state)[0], expected)
    assert np.abs(before - expected).max() > 1e-3


def test_weights_that_do_not_fit_are_refused_by_name() -> None:
    model = model_of(SPECS["embedding"])
    weights = model.get_weights_by_name()
    without = {name: array for name, array in weights.items() if name != "logits/bias"}
    with pytest.raises(UserError, match="the weights do not fit the model: only one side has logits/bias"):
        model.set_weights_by_name(without)
    with pytest.raises(UserError, match="only one side has dense/kernel"):
        model.set_weights_by_name(weights | {"dense/kernel": np.zeros((2, 2), np.float32)})
    with pytest.raises(UserError, match=r"logits/bias is \(12,\), not \(11,\)"):
        model.set_weights_by_name(weights | {"logits/bias": np.zeros(12, np.float32)})
    for name, array in model.get_weights_by_name().items():
        np.testing.assert_array_equal(array, weights[name])  # A refused call changes no weight.


def test_a_mask_keeps_its_share_and_its_mean() -> None:
    mask = mask_of(40, 30, 17, rate=0.3)
    assert sorted(set(np.unique(mask).tolist())) == pytest.approx([0.0, 1 / 0.7])
    assert (mask == 0).mean() == pytest.approx(0.3, abs=0.02)
    assert mask.mean() == pytest.approx(1, abs=0.03)


def test_a_row_has_the_same_mask_on_every_worker() -> None:
    whole = mask_of(6)
    for first, last in [(0, 2), (2, 5), (5, 6), (1, 6)]:
        np.testing.assert_array_equal(mask_of(last - first, first_row=first), whole[first:last])
    assert len({row.tobytes() for row in whole}) == 6


def test_masks_differ_by_seed_step_and_layer() -> None:
    masks = [mask_of(4, seed=seed, step=step, layer=layer) for seed in (0, 1) for step in (0, 1) for layer in (0, 1)]
    assert len({mask.tobytes() for mask in masks}) == 8
    np.testing.assert_array_equal(masks[0], mask_of(4, seed=0, step=0, layer=0))


def test_a_mask_is_drawn_alike_in_a_compiled_function() -> None:
    import tensorflow as tf

    from textgen.model.dropout import DropoutKey, dropout_mask

    def mask_at(step: Any) -> Any:
        key = DropoutKey(seed=3, step=step, first_row=2)
        return dropout_mask(tf.constant([4, 5, 7]), rate=0.4, key=key, layer=1)

    compiled = tf.function(mask_at)
    for step in (0, 5, 10**9):
        expected = mask_of(4, step=step, layer=1, first_row=2)
        np.testing.assert_array_equal(compiled(tf.constant(step, tf.int64)), expected)


def test_dropout_needs_a_key() -> None:
    dropping = model_of(SPECS["one-hot, two layers"])
    state = dropping.initial_state(B)
    plain = dropping(ids_of(), state)[0].numpy()
    np.testing.assert_array_equal(dropping(ids_of(), state)[0], plain)
    dropped = dropping(ids_of(), state, dropout=key_of())[0].numpy()
    assert np.abs(dropped - plain).max() > 1e-3
    np.testing.assert_array_equal(dropping(ids_of(), state, dropout=key_of())[0], dropped)
    assert np.abs(dropping(ids_of(), state, dropout=key_of(step=6))[0] - dropped).max() > 1e-3


@every_spec
def test_without_dropout_a_key_changes_nothing(spec: ModelSpec) -> None:
    model = model_of(dataclasses.replace(spec, dropout=0.0))
    state = model.initial_state(B)
    for last_only in (False, True):
        trained, state_trained = model(ids_of(), state, dropout=key_of(), last_only=last_only)
        used, state_used = model(ids_of(), state, last_only=last_only)
        for one, other in zip([trained, *state_trained], [used, *state_used], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_rows_get_the_same_dropout_in_any_split_of_the_batch() -> None:
    model = model_of(ModelSpec(embedding_dim=4, units=6, num_layers=2, dropout=0.5, dense_units=10))
    ids = ids_of()
    whole, end = model(ids, model.initial_state(B), dropout=key_of())
    for first, last in [(0, 1), (1, 3)]:
        state = model.initial_state(last - first)
        part, part_end = model(ids[first:last], state, dropout=key_of(first_row=first))
        np.testing.assert_allclose(part, whole[first:last], atol=1e-5)
        for got, expected in zip(part_end, end, strict=True):
            np.testing.assert_allclose(got, expected[first:last], atol=1e-5)
