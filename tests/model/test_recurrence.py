"""Our LSTM over a window: the same outputs, states and gradients as Keras's layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from textgen.model import language_model, recurrence  # noqa: E402
from textgen.model.dropout import DropoutKey  # noqa: E402
from textgen.model.language_model import LanguageModel  # noqa: E402
from textgen.spec import ModelSpec  # noqa: E402

B, T, V = 3, 7, 11
MODELS = {
    "embedding": ModelSpec(embedding_dim=4, units=5),
    "one-hot, layers of two widths": ModelSpec(input="one_hot", num_layers=2, layer_units=(6, 5)),
    "scaled, three layers": ModelSpec(input="scaled", units=6, num_layers=3),
}


def results(model: Any, *, length: int = T) -> list[np.ndarray[Any, Any]]:
    """Returns the logits, the state and the gradients of a weighted sum of both, in a training step."""
    generator = np.random.default_rng(1)
    ids = tf.constant(generator.integers(0, V, (B, length)), tf.int32)
    state = [tf.constant(generator.normal(size=part.shape), tf.float32) for part in model.initial_state(B)]
    weights = tf.constant(generator.normal(size=(B, length, V)), tf.float32)
    key = DropoutKey(seed=1, step=tf.constant(2, tf.int64), first_row=0)

    @tf.function
    def step() -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(state)
            logits, new_state = model(ids, state, dropout=key)
            total = tf.reduce_sum(logits * weights) + sum(tf.reduce_sum(part**2) for part in new_state)
        variables = [variable.value for variable in model.variables_by_name().values()]
        gradients = tape.gradient(total, [*variables, *state])
        return [logits, *new_state, *(tf.convert_to_tensor(gradient) for gradient in gradients)]

    return [value.numpy() for value in step()]


@pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS.keys())
def test_it_computes_what_the_keras_layer_does(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LanguageModel(spec, vocab_size=V, seed=3)
    calls = []
    original = recurrence.lstm
    monkeypatch.setattr(recurrence, "lstm", lambda *values, **kind: calls.append(1) or original(*values, **kind))
    ours = results(model)
    assert len(calls) == len(spec.widths)
    monkeypatch.setattr(language_model, "LONGEST_UNROLLED", T - 1)
    theirs = results(model)
    assert len(calls) == len(spec.widths)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        assert np.abs(other).max() > 1e-3


@pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS.keys())
def test_mixed_precision_rounds_products_only(spec: ModelSpec) -> None:
    exact = results(LanguageModel(spec, vocab_size=V, seed=3))
    mixed = results(LanguageModel(spec, vocab_size=V, seed=3, mixed_precision=True))
    assert {value.dtype for value in mixed} == {np.dtype(np.float32)}
    distances = [np.linalg.norm(one - other) / np.linalg.norm(other) for one, other in zip(mixed, exact, strict=True)]
    assert max(distances) < 0.03  # bfloat16 has 8 bits of precision: a product is off by up to 1 / 256.
    assert distances[0] > 1e-5


def test_inference_uses_the_keras_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(recurrence, "lstm", refuse)
    model = LanguageModel(MODELS["embedding"], vocab_size=V)
    logits, _ = model(tf.zeros((2, 4), tf.int32), model.initial_state(2))
    assert logits.shape == (2, 4, V)
