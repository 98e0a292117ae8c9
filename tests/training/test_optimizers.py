"""Groups of layers with different rates, and gradual unfreezing."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

pytest.importorskip("tensorflow")

from tests.rendezvous import together  # noqa: E402
from textgen.model.language_model import LanguageModel  # noqa: E402
from textgen.spec import ModelSpec, TrainingSpec  # noqa: E402
from textgen.training.collective import Alone, Collective  # noqa: E402
from textgen.training.step import TrainingStep  # noqa: E402
from textgen.windows.batches import Batch  # noqa: E402
from textgen.windows.lanes import worker_rows  # noqa: E402

ROWS, LENGTH, VOCAB_SIZE = 6, 4, 11
MODEL = ModelSpec(embedding_dim=3, units=5, num_layers=2, dense_units=7)


def batch_of(step: int) -> Batch:
    ids = np.random.default_rng(step).integers(0, VOCAB_SIZE, (ROWS, LENGTH + 1)).astype(np.int32)
    return Batch(step=step, inputs=ids[:, :-1], targets=ids[:, 1:], weights=np.ones((ROWS, LENGTH), np.float32))


def stepper(spec: TrainingSpec, collective: Collective | None = None, *, model: ModelSpec = MODEL) -> TrainingStep:
    collective = collective or Alone()
    first, last = worker_rows(ROWS, collective.rank, collective.num_workers)
    made = LanguageModel(model, vocab_size=VOCAB_SIZE, seed=2)
    return TrainingStep(made, spec, collective, parts=[range(first, last)])


def take(step: TrainingStep, number: int, *, learning_rate: float = 0.1) -> dict[str, Any]:
    """Makes a step and returns the weights after it."""
    step(batch_of(number), learning_rate=learning_rate)
    return step.model.get_weights_by_name()


def test_the_groups_are_the_layers_from_the_input_to_the_output() -> None:
    model = LanguageModel(MODEL, vocab_size=VOCAB_SIZE)
    groups = model.layer_groups()
    assert list(itertools.chain(*groups)) == list(model.variables_by_name())
    assert [{name.split("/")[0] for name in group} for group in groups] == [
        {"embedding"}, {"lstm_1"}, {"lstm_2"}, {"dense", "logits"},
    ]  # fmt: skip
    one_hot = LanguageModel(ModelSpec(input="one_hot", units=4, cell="gru"), vocab_size=VOCAB_SIZE)
    assert [group[0] for group in one_hot.layer_groups()] == ["gru_1/kernel", "logits/kernel"]


def test_the_axes_of_the_vocabulary_are_those_that_grow_with_it() -> None:
    for spec in (MODEL, ModelSpec(input="one_hot", units=4), ModelSpec(input="one_hot", units=4, cell="gru")):
        small, large = (LanguageModel(spec, vocab_size=size) for size in (VOCAB_SIZE, VOCAB_SIZE + 1))
        wider = large.variables_by_name()
        for name, variable in small.variables_by_name().items():
            grown = np.subtract(tuple(wider[name].shape), tuple(variable.shape)).tolist()
            assert grown == [int(small.vocabulary_axes().get(name) == axis) for axis in range(len(grown))]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "muon", "rmsprop"])
def test_frozen_groups_do_not_change(optimizer: Any) -> None:
    decay = {"weight_decay": 0.1} if optimizer == "adamw" else {}
    step = stepper(TrainingSpec(optimizer=optimizer, unfreeze_every_steps=2, global_batch_size=ROWS, **decay))
    groups = step.model.layer_groups()
    before, slots_before = step.model.get_weights_by_name(), step.optimizer_arrays()
    for number in range(8):
        after = take(step, number)
        num_learning = min(len(groups), 1 + number // 2)
        for place, group in enumerate(groups):
            frozen = place < len(groups) - num_learning
            assert all(np.array_equal(after[name], before[name]) == frozen for name in group)
        before = after
    assert step.optimizers.num_updates == [2, 4, 6, 8]
    assert any((value != slots_before[name]).any() for name, value in step.optimizer_arrays().items())


def test_moments_of_frozen_groups_stay_zero() -> None:
    step = stepper(TrainingSpec(optimizer="adam", unfreeze_every_steps=5, global_batch_size=ROWS))
    take(step, 0)
    moved = [optimizer for optimizer in step.optimizer_arrays().values() if optimizer.ndim and optimizer.any()]
    last_group = step.model.layer_groups()[-1]
    assert len(moved) == 2 * len(last_group)


def test_a_step_of_sgd_moves_each_group_by_its_own_rate() -> None:
    plain = TrainingSpec(optimizer="sgd", clip_norm=None, global_batch_size=ROWS)
    groups = stepper(plain).model.layer_groups()
    start = stepper(plain).model.get_weights_by_name()
    whole = take(stepper(plain), 0)
    parts = take(stepper(TrainingSpec(optimizer="sgd", clip_norm=None, global_batch_size=ROWS, layer_rate_factor=4)), 0)
    for place, group in enumerate(groups):
        share = 4.0 ** (place + 1 - len(groups))
        for name in group:
            np.testing.assert_allclose(parts[name] - start[name], share * (whole[name] - start[name]), atol=1e-6)


def test_the_clipped_norm_covers_only_learning_groups() -> None:
    spec = TrainingSpec(optimizer="sgd", clip_norm=0.01, unfreeze_every_steps=9, global_batch_size=ROWS)
    step = stepper(spec)
    start = step.model.get_weights_by_name()
    moved = [np.sum((after - start[name]) ** 2) for name, after in take(step, 0, learning_rate=1.0).items()]
    assert np.sqrt(np.sum(moved)) == pytest.approx(0.01, rel=1e-3)


def test_groups_with_equal_rates_learn_the_same_as_one_optimizer() -> None:
    """Adam updates each weight separately, so only the clipped norm connects the groups."""
    together_spec = TrainingSpec(optimizer="adam", global_batch_size=ROWS)
    apart_spec = TrainingSpec(optimizer="adam", global_batch_size=ROWS, layer_rate_factor=1 + 1e-12)
    one, other = stepper(together_spec), stepper(apart_spec)
    for number in range(3):
        whole, parts = take(one, number), take(other, number)
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, atol=1e-6)


def test_a_state_saved_between_two_unfreezings_resumes_bit_for_bit() -> None:
    spec = TrainingSpec(optimizer="adam", unfreeze_every_steps=2, layer_rate_factor=2.6, global_batch_size=ROWS)
    whole, first = stepper(spec), stepper(spec)
    for number in range(6):
        end = take(whole, number)
    for number in range(3):
        take(first, number)
    second = stepper(spec)
    second.model.set_weights_by_name(first.model.get_weights_by_name())
    second.load_optimizer_arrays(first.optimizer_arrays())
    second.state = first.state
    for number in range(3, 6):
        resumed = take(second, number)
    for name, value in end.items():
        np.testing.assert_array_equal(resumed[name], value)


def test_several_workers_unfreeze_at_the_same_steps() -> None:
    spec = TrainingSpec(optimizer="sgd", unfreeze_every_steps=1, layer_rate_factor=2.0, global_batch_size=ROWS)
    alone = stepper(spec)
    for number in range(4):
        expected = take(alone, number)

    def work(member: Collective) -> dict[str, Any]:
        first, last = worker_rows(ROWS, member.rank, member.num_workers)
        step = stepper(spec, member)
        for number in range(4):
            batch = batch_of(number)
            rows = {name: getattr(batch, name)[first:last] for name in ("inputs", "targets", "weights")}
            step(Batch(step=number, **rows), learning_rate=0.1)
        return step.model.get_weights_by_name()

    for weights in together(2, work):
        for name, value in weights.items():
            np.testing.assert_allclose(value, expected[name], atol=1e-5)
