"""Learning rate and number of steps."""

import pytest

from textgen.spec import TrainingSpec
from textgen.training.schedule import learning_rate, total_steps
from textgen.windows.lanes import Lanes


def test_warm_up_rises_linearly_to_the_peak_and_the_cosine_falls_to_the_final_share() -> None:
    spec = TrainingSpec(learning_rate=0.8, warmup_steps=4, final_learning_rate_share=0.25)
    rates = [learning_rate(step, spec, num_steps=15) for step in range(15)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4] == pytest.approx(0.8)
    assert rates[9] == pytest.approx(0.8 * (0.25 + 0.75 / 2))  # Half of the way down.
    assert rates[14] == pytest.approx(0.2)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_without_decay_the_rate_stays() -> None:
    spec = TrainingSpec(learning_rate=0.8, warmup_steps=0, decay="constant")
    assert {learning_rate(step, spec, num_steps=9) for step in range(9)} == {0.8}


@pytest.mark.parametrize(
    ("epochs", "max_steps", "expected"), [(1.0, None, 4), (2.5, None, 10), (2.5, 7, 7), (0.5, 7, 2), (0.1, None, 1)]
)
def test_training_ends_with_its_epochs_or_its_steps(epochs: float, max_steps: int | None, expected: int) -> None:
    lanes = Lanes(num_windows=11, global_batch_size=3)  # 4 steps an epoch.
    assert total_steps(TrainingSpec(epochs=epochs, max_steps=max_steps), lanes) == expected
