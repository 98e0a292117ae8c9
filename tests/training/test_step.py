"""One training step, in process: the correct gradient, regardless of how the rows are divided."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

tf = pytest.importorskip("tensorflow")

from tests.rendezvous import together  # noqa: E402
from textgen.model.dropout import DropoutKey  # noqa: E402
from textgen.model.language_model import LanguageModel  # noqa: E402
from textgen.runs.schedule import learning_rate  # noqa: E402
from textgen.spec import ModelSpec, TrainingSpec  # noqa: E402
from textgen.training.collective import Alone, Collective  # noqa: E402
from textgen.training.step import TrainingStep, Wishes, parts_of  # noqa: E402
from textgen.windows.batches import Batch  # noqa: E402
from textgen.windows.lanes import worker_rows  # noqa: E402

ROWS, LENGTH, VOCAB_SIZE = 10, 4, 13


def batches(num_steps: int) -> list[Batch]:
    rng = np.random.default_rng(3)
    made = []
    for step in range(num_steps):
        ids = rng.integers(0, VOCAB_SIZE, (ROWS, LENGTH + 1)).astype(np.int32)
        weights = np.ones((ROWS, LENGTH), np.float32)
        weights[rng.integers(0, ROWS)] = 0  # A lane that has ended.
        made.append(Batch(step=step, inputs=ids[:, :-1], targets=ids[:, 1:], weights=weights))
    return made


def trained(
    collective: Collective, spec: TrainingSpec, model_spec: ModelSpec, num_steps: int
) -> tuple[list[float], Any]:
    """Returns the loss of every step and the final weights."""
    parts = parts_of(spec, collective)
    first, last = parts[0].start, parts[-1].stop
    model = LanguageModel(model_spec, vocab_size=VOCAB_SIZE, seed=5, mixed_precision=bool(spec.mixed_precision))
    step = TrainingStep(model, spec, collective, parts=parts)
    losses = []
    for batch in batches(num_steps):
        own = Batch(
            step=batch.step,
            inputs=batch.inputs[first:last],
            targets=batch.targets[first:last],
            weights=batch.weights[first:last],
        )
        figures = step(own, learning_rate=learning_rate(batch.step, spec, num_steps=num_steps))
        losses.append(figures.nats / figures.characters)
    assert set(step.optimizers.num_updates) == {num_steps}  # Applied once per step, not once per reduction.
    return losses, model.get_weights_by_name()


@pytest.mark.parametrize(
    ("optimizer", "order", "loss_at", "num_workers", "num_steps"),
    [
        ("sgd", "stateful", "every", 2, 20),
        ("adam", "shuffled", "every", 2, 20),
        ("adamw", "stateful", "every", 3, 6),
        ("rmsprop", "shuffled", "last", 3, 6),
    ],
)
def test_several_workers_learn_the_same_as_one(
    optimizer: Any, order: Any, loss_at: Any, num_workers: int, num_steps: int
) -> None:
    spec = TrainingSpec(
        global_batch_size=ROWS,
        optimizer=optimizer,
        order=order,
        loss_at=loss_at,
        learning_rate=0.5 if optimizer == "sgd" else 0.01,
        warmup_steps=5,
        clip_norm=0.3,
        fresh_share=0.3,
        weight_decay=0.1 if optimizer == "adamw" else 0.0,
    )
    model_spec = ModelSpec(embedding_dim=4, units=6, num_layers=2, dropout=0.4, dense_units=5)
    alone, alone_weights = trained(Alone(), spec, model_spec, num_steps)
    for losses, weights in together(num_workers, lambda member: trained(member, spec, model_spec, num_steps)):
        assert losses == pytest.approx(alone, rel=1e-4)
        for name, value in weights.items():
            np.testing.assert_allclose(value, alone_weights[name], atol=2e-3)
    assert alone[0] == pytest.approx(np.log(VOCAB_SIZE), abs=0.1)


@pytest.mark.parametrize(
    ("optimizer", "order", "num_virtual", "num_workers", "is_mixed"),
    [
        ("adam", "stateful", 2, 2, True),
        ("adamw", "stateful", 3, 2, False),
        ("sgd", "shuffled", 4, 4, False),
        ("rmsprop", "stateful", 4, 3, False),
    ],
)
def test_a_sum_in_fixed_order_is_the_same_for_any_number_of_workers(
    optimizer: Any, order: Any, num_virtual: int, num_workers: int, is_mixed: bool
) -> None:
    spec = TrainingSpec(
        global_batch_size=ROWS,
        optimizer=optimizer,
        order=order,
        reduction="fixed_order",
        virtual_workers=num_virtual,
        learning_rate=0.01,
        warmup_steps=5,
        clip_norm=0.3,
        fresh_share=0.3,
        mixed_precision=is_mixed,
    )
    model_spec = ModelSpec(embedding_dim=4, units=6, num_layers=2, dropout=0.4, dense_units=5)
    ((alone, alone_weights),) = together(1, lambda member: trained(member, spec, model_spec, 8))
    for losses, weights in together(num_workers, lambda member: trained(member, spec, model_spec, 8)):
        assert losses == alone
        for name, value in weights.items():
            np.testing.assert_array_equal(value, alone_weights[name])
    free = dataclasses.replace(spec, reduction="all_reduce")
    ((losses, weights),) = together(1, lambda member: trained(member, free, model_spec, 8))
    assert losses == pytest.approx(alone, rel=1e-3 if is_mixed else 1e-5)
    assert any(
        (value != alone_weights[name]).any() for name, value in weights.items()
    )  # Sums in another order round differently.


def test_a_step_of_sgd_is_the_mean_gradient_over_the_weighted_characters() -> None:
    spec = TrainingSpec(global_batch_size=ROWS, optimizer="sgd", clip_norm=None, learning_rate=1.0)
    model_spec = ModelSpec(input="one_hot", units=6)
    (batch,) = batches(1)
    model = LanguageModel(model_spec, vocab_size=VOCAB_SIZE, seed=5)
    with tf.GradientTape() as tape:
        logits, _ = model(batch.inputs, model.initial_state(ROWS))
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=batch.targets, logits=logits)
        loss = tf.reduce_mean(nats[batch.weights > 0])
    gradients = tape.gradient(loss, list(model.variables_by_name().values()))
    before = model.get_weights_by_name()
    step = TrainingStep(model, spec, Alone(), parts=[range(ROWS)])
    figures = step(batch, learning_rate=0.25)
    assert figures.nats / figures.characters == pytest.approx(float(loss), rel=1e-6)
    assert figures.characters == (ROWS - 1) * LENGTH
    for (name, after), gradient in zip(model.get_weights_by_name().items(), gradients, strict=True):
        np.testing.assert_allclose(after, before[name] - 0.25 * np.asarray(gradient), atol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_loss_at_the_last_input_equals_a_masked_loss_at_every_input(cell: Any) -> None:
    model_spec = ModelSpec(input="one_hot", cell=cell, num_layers=2, layer_units=(6, 7), dense_units=5)
    (whole,) = batches(1)
    masked = whole.weights * (np.arange(LENGTH) == LENGTH - 1)
    ends = {}
    for loss_at, weights in (("every", masked), ("last", whole.weights)):
        spec = TrainingSpec(
            global_batch_size=ROWS,
            order="shuffled",
            loss_at=loss_at,  # type: ignore[arg-type]
            optimizer="sgd",
            clip_norm=None,
        )
        model = LanguageModel(model_spec, vocab_size=VOCAB_SIZE, seed=5)
        step = TrainingStep(model, spec, Alone(), parts=[range(ROWS)])
        batch = Batch(step=0, inputs=whole.inputs, targets=whole.targets, weights=weights.astype(np.float32))
        figures = step(batch, learning_rate=0.5)
        assert figures.characters == ROWS - 1
        ends[loss_at] = figures.nats, model.get_weights_by_name()
    assert ends["last"][0] == pytest.approx(ends["every"][0], rel=1e-6)
    start = LanguageModel(model_spec, vocab_size=VOCAB_SIZE, seed=5).get_weights_by_name()
    for name, value in ends["every"][1].items():
        np.testing.assert_allclose(ends["last"][1][name], value, atol=1e-6)
        assert np.abs(value - start[name]).max() > 1e-5


def test_a_step_that_predicts_nothing_stays_finite() -> None:
    spec = TrainingSpec(global_batch_size=ROWS, optimizer="sgd")
    (batch,) = batches(1)
    model = LanguageModel(ModelSpec(embedding_dim=4, units=6), vocab_size=VOCAB_SIZE, seed=5)
    before = model.get_weights_by_name()
    step = TrainingStep(model, spec, Alone(), parts=parts_of(spec, Alone()))
    figures = step(dataclasses.replace(batch, weights=np.zeros_like(batch.weights)), learning_rate=1.0)
    assert figures.is_finite
    assert (figures.nats, figures.characters) == (0, 0)
    for name, value in model.get_weights_by_name().items():
        np.testing.assert_array_equal(value, before[name])


def test_clipping_bounds_the_global_norm_of_the_update() -> None:
    (batch,) = batches(1)
    lengths = {}
    for clip_norm in (None, 0.01, 1e6):
        spec = TrainingSpec(global_batch_size=ROWS, optimizer="sgd", clip_norm=clip_norm)
        model = LanguageModel(ModelSpec(embedding_dim=4, units=6), vocab_size=VOCAB_SIZE, seed=5)
        before = model.get_weights_by_name()
        TrainingStep(model, spec, Alone(), parts=[range(ROWS)])(batch, learning_rate=1.0)
        squares = [np.sum((after - before[name]) ** 2) for name, after in model.get_weights_by_name().items()]
        lengths[clip_norm] = float(np.sqrt(np.sum(squares)))
    assert lengths[0.01] == pytest.approx(0.01, rel=1e-3)
    assert lengths[None] == pytest.approx(lengths[1e6])
    assert lengths[None] > 0.02


def test_the_state_is_carried_in_the_stateful_order_only() -> None:
    (batch,) = batches(1)
    nats = {}
    for order, fresh_share in (("stateful", 0.0), ("stateful", 1.0), ("shuffled", 0.0)):
        spec = TrainingSpec(
            global_batch_size=ROWS,
            optimizer="sgd",
            order=order,  # type: ignore[arg-type]
            fresh_share=fresh_share,
        )
        model = LanguageModel(ModelSpec(embedding_dim=4, units=6), vocab_size=VOCAB_SIZE, seed=5)
        step = TrainingStep(model, spec, Alone(), parts=[range(ROWS)])
        nats[order, fresh_share] = [step(batch, learning_rate=0.0).nats for _ in range(2)]
    first, second = nats["stateful", 0.0]
    assert first != second
    assert nats["stateful", 1.0] == nats["shuffled", 0.0] == [first, first]


def test_a_share_of_the_lanes_restarts_and_keeps_its_conditions() -> None:
    num_rows, controls = 400, (range(VOCAB_SIZE - 2, VOCAB_SIZE),)
    model = LanguageModel(ModelSpec(embedding_dim=4, units=6), vocab_size=VOCAB_SIZE, controls=controls)
    spec = TrainingSpec(global_batch_size=num_rows, fresh_share=0.2)
    state = [tf.ones_like(part) for part in model.initial_state(num_rows)]
    drawn = {}
    for number, first_row in [(0, 0), (1, 0), (1, 100)]:
        step = TrainingStep(model, spec, Alone(), parts=[range(first_row, first_row + num_rows)])
        key = DropoutKey(seed=3, step=tf.constant(number, tf.int64), first_row=first_row)
        *units, conditions = step._initial_state(state, key)
        np.testing.assert_array_equal(conditions, np.ones((num_rows, 1)))
        fresh = units[0].numpy()[:, 0] == 0
        for part in units:
            np.testing.assert_array_equal(part, np.repeat(~fresh[:, None], 6, axis=1))
        assert 0.13 < fresh.mean() < 0.27
        drawn[number, first_row] = fresh
    assert (drawn[0, 0] != drawn[1, 0]).any()
    np.testing.assert_array_equal(drawn[1, 100][:300], drawn[1, 0][100:])  # Drawn per lane, on whichever worker.


def test_a_wish_for_a_checkpoint_reaches_every_worker() -> None:
    def wishes(member: Collective) -> list[bool]:
        first, last = worker_rows(ROWS, member.rank, member.num_workers)
        model = LanguageModel(ModelSpec(embedding_dim=4, units=3), vocab_size=VOCAB_SIZE)
        step = TrainingStep(model, TrainingSpec(), member, parts=[range(first, last)])
        (batch,) = batches(1)
        own = Batch(
            step=0,
            inputs=batch.inputs[first:last],
            targets=batch.targets[first:last],
            weights=batch.weights[first:last],
        )
        return [
            step(own, learning_rate=0.0, wishes=Wishes(checkpoint=wants and member.rank == 0)).wishes.checkpoint
            for wants in (False, True, False)
        ]

    assert together(2, wishes) == [[False, True, False]] * 2
