"""The clock of a training worker: shares add up, and the first step counts separately."""

from __future__ import annotations

import pytest

from textgen.training.clock import Clock


def test_the_first_step_counts_as_start_and_not_for_the_speed() -> None:
    clock = Clock(flops_per_input=2_000_000)
    clock.add_step(seconds=9.0, reduce_seconds=1.0, num_inputs=100)
    assert clock.gflops() == 0
    for _ in range(4):
        clock.add_step(seconds=0.5, reduce_seconds=0.25, num_inputs=100)
    with clock.measuring("data"):
        pass
    assert clock.gflops() == pytest.approx(4 * 100 * 2e6 / (4 * 0.25) / 1e9)
    shares = clock.shares()
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert shares["compute"] == pytest.approx(shares["reduce"])
    assert shares["start"] == pytest.approx(9 * shares["compute"], rel=1e-3)
