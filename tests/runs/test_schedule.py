"""Learning rates and number of steps."""

import pytest

from textgen.runs.schedule import learning_rate, learns_by_groups, num_frozen, rate_shares, total_steps
from textgen.spec import TrainingSpec
from textgen.windows.lanes import Lanes


def test_warm_up_rises_linearly_to_the_peak_and_the_cosine_falls_to_the_final_share() -> None:
    spec = TrainingSpec(learning_rate=0.8, warmup_steps=4, final_learning_rate_share=0.25)
    rates = [learning_rate(step, spec, num_steps=15) for step in range(15)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4] == pytest.approx(0.8)
    assert rates[9] == pytest.approx(0.8 * (0.25 + 0.75 / 2))  # Halfway down.
    assert rates[14] == pytest.approx(0.2)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_without_decay_the_rate_is_constant() -> None:
    spec = TrainingSpec(learning_rate=0.8, warmup_steps=0, decay="constant")
    assert {learning_rate(step, spec, num_steps=9) for step in range(9)} == {0.8}


@pytest.mark.parametrize(
    ("epochs", "max_steps", "expected"), [(1.0, None, 4), (2.5, None, 10), (2.5, 7, 7), (0.5, 7, 2), (0.1, None, 1)]
)
def test_training_ends_with_its_epochs_or_its_steps(epochs: float, max_steps: int | None, expected: int) -> None:
    lanes = Lanes(num_windows=11, global_batch_size=3)  # 4 steps an epoch.
    assert total_steps(TrainingSpec(epochs=epochs, max_steps=max_steps), lanes) == expected


def rates(decay: str, num_steps: int, **changes: float) -> list[float]:
    spec = TrainingSpec(learning_rate=0.8, decay=decay, **changes)  # type: ignore[arg-type]
    return [learning_rate(step, spec, num_steps=num_steps) for step in range(num_steps)]


def test_one_cycle_rises_to_the_peak_over_a_quarter_and_falls_to_the_final_share() -> None:
    cycle = rates("one_cycle", 101, final_learning_rate_share=0.01)
    assert cycle[0] == pytest.approx(0.8 / 25)
    assert cycle[25] == pytest.approx(0.8)
    assert cycle[100] == pytest.approx(0.008)
    assert cycle[12] + cycle[13] == pytest.approx(0.8 + 0.8 / 25)  # Symmetric around the middle of the rise.
    assert cycle[:26] == sorted(cycle[:26])
    assert cycle[25:] == sorted(cycle[25:], reverse=True)


def test_slanted_triangular_is_the_published_formula() -> None:
    num_steps, ratio = 101, 32
    cut = 10
    triangle = rates("slanted_triangular", num_steps)
    for step, rate in enumerate(triangle):
        share = step / cut if step < cut else 1 - (step - cut) / (num_steps - 1 - cut)
        assert rate == pytest.approx(0.8 * (1 + share * (ratio - 1)) / ratio)
    assert max(triangle) == triangle[cut] == 0.8


@pytest.mark.parametrize("decay", ["cosine", "constant", "one_cycle", "slanted_triangular"])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 40])
def test_a_rate_is_above_zero_and_at_most_the_peak_however_short_the_training(decay: str, num_steps: int) -> None:
    assert all(0 < rate <= 0.8 for rate in rates(decay, num_steps))


def test_layers_learn_at_a_lower_rate_the_nearer_they_are_to_the_input() -> None:
    assert rate_shares(TrainingSpec(layer_rate_factor=2.0), num_groups=4) == [1 / 8, 1 / 4, 1 / 2, 1]
    assert rate_shares(TrainingSpec(), num_groups=3) == [1, 1, 1]
    assert [learns_by_groups(TrainingSpec(layer_rate_factor=factor)) for factor in (1.0, 1.1)] == [False, True]
    assert learns_by_groups(TrainingSpec(unfreeze_every_steps=5))


def test_groups_start_to_learn_from_the_last_one_down() -> None:
    spec = TrainingSpec(unfreeze_every_steps=3)
    assert [num_frozen(step, spec, num_groups=3) for step in range(9)] == [2, 2, 2, 1, 1, 1, 0, 0, 0]
    assert num_frozen(0, TrainingSpec(), num_groups=3) == 0
