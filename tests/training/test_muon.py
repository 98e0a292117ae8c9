"""Updates whose matrices are orthogonal, which weights get them, and what they are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

tf = pytest.importorskip("tensorflow")

from textgen.model.language_model import LanguageModel  # noqa: E402
from textgen.spec import ModelSpec, TrainingSpec  # noqa: E402
from textgen.training.muon import MOMENTUM, Muon, by_blocks, hidden_matrices, orthogonalised  # noqa: E402
from textgen.training.optimizers import GroupOptimizer  # noqa: E402

VOCAB_SIZE = 11


def drawn(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(5, 5), (4, 9), (9, 4), (3, 6, 8)])
def test_an_update_keeps_the_singular_vectors_and_brings_the_values_near_one(shape: tuple[int, ...]) -> None:
    matrix = drawn(*shape) * np.linspace(0.2, 2, shape[-1], dtype=np.float32)  # Some directions are far weaker.
    u, before, v = np.linalg.svd(matrix, full_matrices=False)
    update = orthogonalised(tf.constant(matrix)).numpy()
    in_their_directions = np.swapaxes(u, -1, -2) @ update @ np.swapaxes(v, -1, -2)
    values = np.diagonal(in_their_directions, axis1=-2, axis2=-1)
    assert before.max() > 4 * before.min()
    assert (values > 0.6).all()
    assert (values < 1.3).all()
    np.testing.assert_allclose(in_their_directions, values[..., None] * np.eye(values.shape[-1]), atol=1e-4)


def test_a_longer_gradient_gives_the_same_update() -> None:
    matrix = drawn(4, 6)
    np.testing.assert_allclose(
        orthogonalised(tf.constant(1e4 * matrix)), orthogonalised(tf.constant(matrix)), atol=1e-5
    )


@pytest.mark.parametrize(("inputs", "units", "scale"), [(6, 6, 1.0), (9, 4, 1.0), (3, 12, 2.0)])
def test_each_gate_is_a_matrix_of_its_own(inputs: int, units: int, scale: float) -> None:
    gates = [drawn(inputs, units, seed=seed) * 10.0**seed for seed in range(4)]
    update = by_blocks(tf.constant(np.concatenate(gates, axis=1)), num_blocks=4)
    expected = [scale * orthogonalised(tf.constant(gate)).numpy() for gate in gates]
    np.testing.assert_allclose(update, np.concatenate(expected, axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ModelSpec(embedding_dim=3, units=5, num_layers=2, dense_units=7),
         {"lstm_1/kernel": 4, "lstm_1/recurrent_kernel": 4, "lstm_2/kernel": 4, "lstm_2/recurrent_kernel": 4,
          "dense/kernel": 1}),
        (ModelSpec(input="one_hot", cell="gru", units=5), {"gru_1/recurrent_kernel": 3}),
        (ModelSpec(input="scaled", num_layers=2, layer_units=(6, 4)),
         {"lstm_1/kernel": 4, "lstm_1/recurrent_kernel": 4, "lstm_2/kernel": 4, "lstm_2/recurrent_kernel": 4}),
    ],
    ids=["embedding", "one-hot, gru", "scaled"],
)  # fmt: skip
def test_kernels_between_hidden_layers_get_it_and_what_has_a_row_for_each_id_does_not(
    spec: ModelSpec, expected: dict[str, int]
) -> None:
    assert hidden_matrices(LanguageModel(spec, vocab_size=VOCAB_SIZE)) == expected


def test_two_updates_by_hand() -> None:
    weights = tf.Variable(drawn(3, 3))
    start, first, second = weights.numpy(), drawn(3, 3, seed=1), drawn(3, 3, seed=2)
    muon = Muon([weights], num_blocks=[1], weight_decay=0.5)
    muon.apply([tf.constant(first)], [weights], learning_rate=tf.constant(0.1))
    after = start - 0.1 * (orthogonalised(tf.constant((1 + MOMENTUM) * first)).numpy() + 0.5 * start)
    np.testing.assert_allclose(weights, after, atol=1e-5)
    muon.apply([tf.constant(second)], [weights], learning_rate=tf.constant(0.2))
    momentum = MOMENTUM * first + second
    update = orthogonalised(tf.constant(second + MOMENTUM * momentum)).numpy()
    np.testing.assert_allclose(weights, after - 0.2 * (update + 0.5 * after), atol=1e-5)
    np.testing.assert_allclose(muon.variables[0], momentum, atol=1e-6)


def test_matrices_learn_by_muon_at_its_rate_and_the_rest_as_adam_does() -> None:
    moved: dict[str, dict[str, Any]] = {}
    for optimizer in ("adam", "muon"):
        model = LanguageModel(ModelSpec(embedding_dim=3, units=5), vocab_size=VOCAB_SIZE, seed=2)
        before = model.get_weights_by_name()
        spec = TrainingSpec(optimizer=optimizer, learning_rate=0.1, muon_learning_rate=0.03)
        group = GroupOptimizer(list(before), model, spec)
        gradients = [tf.constant(drawn(*value.shape, seed=place)) for place, value in enumerate(before.values())]
        group.apply(gradients, learning_rate=tf.constant(0.05))  # Half of the peak, as in a warm-up.
        moved[optimizer] = {name: value - before[name] for name, value in model.get_weights_by_name().items()}
    by_name = dict(zip(before, gradients, strict=True))
    for name, change in moved["muon"].items():
        if name.startswith("lstm") and name.endswith("kernel"):
            expected = -0.015 * by_blocks((1 + MOMENTUM) * by_name[name], num_blocks=4).numpy()
            np.testing.assert_allclose(change, expected, atol=1e-5)
        else:
            np.testing.assert_array_equal(change, moved["adam"][name])
