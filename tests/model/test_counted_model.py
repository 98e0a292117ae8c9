"""A model that reads counts: its gate, its state, and one id at a time as all at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

tf = pytest.importorskip("tensorflow")

from tests.slow_counts import table_of  # noqa: E402
from textgen.counts import words  # noqa: E402
from textgen.model.count_lookup import CountLookup  # noqa: E402
from textgen.model.counted_model import CountedModel, language_model  # noqa: E402
from textgen.model.dropout import DropoutKey  # noqa: E402
from textgen.model.language_model import LanguageModel  # noqa: E402
from textgen.runs.plan import num_parameters  # noqa: E402
from textgen.spec import ModelSpec  # noqa: E402
from textgen.training.muon import hidden_matrices  # noqa: E402

V, B, T, ORDER = 9, 3, 8, 5
CONTROLS = (range(7, 9),)
TEXT = np.random.default_rng(0).choice(V, 600, p=np.arange(1, V + 1) / 45).tolist()
TABLES = {number: table_of(TEXT, order=ORDER, num_words=number, vocab_size=V) for number in (0, 1)}
TABLE = TABLES[0]
REACH = {0: ORDER, 1: words.REACH}
SPECS = {
    "lstm": ModelSpec(embedding_dim=4, units=6, dropout=0.3, counts_order=ORDER),
    "gru": ModelSpec(cell="gru", embedding_dim=4, units=6, num_layers=2, dense_units=5, counts_order=ORDER),
    "words": ModelSpec(embedding_dim=4, units=5, counts_order=ORDER, counts_words=1),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def model_of(spec: ModelSpec) -> CountedModel:
    """Returns a model whose gate has learnt something."""
    model = language_model(spec, counts=TABLES[spec.counts_words], vocab_size=V, controls=CONTROLS, seed=2)
    assert isinstance(model, CountedModel)
    weights = model.get_weights_by_name()
    weights["counts/kernel"] = np.random.default_rng(1).normal(size=weights["counts/kernel"].shape).astype(np.float32)
    model.set_weights_by_name(weights)
    return model


def ids_of() -> Any:
    return tf.constant(np.random.default_rng(3).integers(0, V, (B, T)), tf.int32)


@every_spec
@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_and_steps_equal_one_call(spec: ModelSpec, chunk: int) -> None:
    model, ids = model_of(spec), ids_of()
    expected, last = model(ids, model.initial_state(B))
    state, pieces = model.initial_state(B), []
    for start in range(0, T, chunk):
        if chunk == 1:
            logits, state = model.step(ids[:, start], state)
            pieces.append(logits[:, None])
        else:
            logits, state = model(ids[:, start : start + chunk], state)
            pieces.append(logits)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), expected, rtol=1e-4, atol=1e-5)
    for one, other in zip(state, last, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@every_spec
def test_the_state_ends_with_what_was_told_and_the_last_ids(spec: ModelSpec) -> None:
    model, ids, reach = model_of(spec), ids_of(), REACH[spec.counts_words]
    begun = model.initial_state(B)
    assert [part.shape[1] for part in begun[-2:]] == [1, reach]
    assert len(model.unit_states(begun)) == len(begun) - 2
    _, state = model(ids, begun)
    read = np.concatenate([np.zeros((B, reach)), ids], axis=1)
    np.testing.assert_array_equal(state[-1], read[:, -reach:])
    _, state = model.step(ids[:, 0], state)
    np.testing.assert_array_equal(state[-1], np.concatenate([read[:, 1 - reach :], ids[:, :1]], axis=1))


@every_spec
def test_a_fresh_gate_adds_the_log_probabilities(spec: ModelSpec) -> None:
    table = TABLES[spec.counts_words]
    fresh = language_model(spec, counts=table, vocab_size=V, controls=CONTROLS, seed=2)
    plain = LanguageModel(spec, vocab_size=V, controls=CONTROLS, seed=2)
    ids, before = ids_of(), tf.zeros((B, REACH[spec.counts_words]))
    logits, _ = fresh(ids, fresh.initial_state(B))
    alone, _ = plain(ids, plain.initial_state(B))
    np.testing.assert_allclose(logits - alone, CountLookup(table)(ids, before).log_probabilities[:, :, -1], atol=1e-5)


@every_spec
def test_places_leave_their_fold_out(spec: ModelSpec) -> None:
    model = model_of(spec)
    start = 200
    ids = tf.constant([TEXT[start : start + T]])
    places = tf.range(start + 1, start + 1 + T, dtype=tf.int64)[None]
    known, _ = model(ids, model.initial_state(1))
    unknown, _ = model(ids, model.initial_state(1), places=places)
    assert not np.allclose(known, unknown)


@every_spec
def test_weights_and_groups_have_the_gate_last(spec: ModelSpec) -> None:
    model = model_of(spec)
    names = list(model.variables_by_name())
    assert names[-2:] == ["counts/kernel", "counts/bias"] == model.layer_groups()[-1][-2:]
    assert [name for group in model.layer_groups() for name in group] == names
    assert model.count_params() == num_parameters(spec, vocab_size=V, is_conditioned=True)
    assert "counts/kernel" not in hidden_matrices(model)


@every_spec
def test_the_gate_learns(spec: ModelSpec) -> None:
    model, ids = model_of(spec), ids_of()
    gate = model.variables_by_name()["counts/kernel"]
    with tf.GradientTape() as tape:
        key = DropoutKey(seed=1, step=tf.constant(0, tf.int64), first_row=0)
        logits, _ = model(ids, model.initial_state(B), dropout=key, places=tf.zeros((B, T), tf.int64))
        loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=ids, logits=logits))
    assert (np.abs(tape.gradient(loss, gate.value)[: spec.widths[-1]]) > 0).all()  # Not all lengths are known.


def test_the_spec_and_the_table_go_together() -> None:
    assert type(language_model(ModelSpec(units=3), counts=None, vocab_size=V)) is LanguageModel
    with pytest.raises(AssertionError, match="the spec says"):
        language_model(SPECS["lstm"], counts=None, vocab_size=V)
    with pytest.raises(AssertionError, match="the spec says"):
        language_model(dataclasses.replace(SPECS["lstm"], counts_order=None), counts=TABLE, vocab_size=V)
