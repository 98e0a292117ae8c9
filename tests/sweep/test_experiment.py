"""Experiments on the Ray head: outcomes in order, failures, early stopping, no secret in a runtime environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler

from textgen.errors import UnavailableError, UserError
from textgen.sweep import experiment
from textgen.sweep.experiment import Outcome, run_experiment

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_head")]


def outcomes_of(function: Any, values: list[float], **options: Any) -> tuple[list[Outcome], list[str]]:
    said: list[str] = []
    outcomes = run_experiment(
        function,
        [{"value": value} for value in values],
        metric="cost",
        resources={"CPU": 1},
        max_concurrent_trials=options.pop("max_concurrent_trials", 2),
        say=said.append,
        **options,
    )
    return outcomes, [line for line in said if "trials done" not in line]  # Printed after a long silence.


def test_outcomes_are_in_order_and_a_failure_does_not_end_the_others() -> None:
    def square(config: Mapping[str, Any]) -> None:
        if config["value"] == 5:
            raise ZeroDivisionError("no such luck")
        tune.report({"cost": config["value"] ** 2, "step": 7})

    outcomes, said = outcomes_of(square, [3, 5, 2])
    assert [outcome.config["value"] for outcome in outcomes] == [3, 5, 2]
    assert [outcome.metrics.get("cost") for outcome in outcomes] == [9, None, 4]
    assert [outcome.error is not None for outcome in outcomes] == [False, True, False]
    assert "no such luck" in str(outcomes[1].error)
    assert sorted(said) == ["value 2: cost 4.0000 at step 7", "value 3: cost 9.0000 at step 7", "value 5: failed"]


def test_a_user_error_is_reported_and_does_not_end_the_others() -> None:
    def mistaken(config: Mapping[str, Any]) -> None:
        if config["value"] < 3:
            raise UserError(f"{config['value']} is too small; use 3")
        tune.report({"cost": 1.0})

    outcomes, said = outcomes_of(mistaken, [3, 2])
    assert [str(outcome.error) for outcome in outcomes] == ["None", "2 is too small; use 3"]
    assert sorted(said) == ["value 2: failed: 2 is too small; use 3", "value 3: cost 1.0000"]
    with pytest.raises(UserError, match=r"^1 is too small; use 3$"):
        outcomes_of(mistaken, [1, 2])


def test_unavailable_storage_in_a_trial_ends_the_experiment() -> None:
    def away(config: Mapping[str, Any]) -> None:
        if config["value"] == 2:
            raise UnavailableError("no S3 server answers")
        tune.report({"cost": 1.0})

    with pytest.raises(UnavailableError, match=r"^no S3 server answers$"):
        outcomes_of(away, [3, 2])


def test_the_experiment_fails_if_all_trials_fail() -> None:
    def failing(config: Mapping[str, Any]) -> None:
        raise ZeroDivisionError(f"at {config['value']}")

    with pytest.raises(ZeroDivisionError, match="at 1"):
        outcomes_of(failing, [1])


def test_a_scheduler_stops_poor_trials() -> None:
    def level(config: Mapping[str, Any]) -> None:
        for step in (1, 2, 3, 4):
            tune.report({"cost": config["value"], "step": step})

    scheduler = ASHAScheduler(time_attr="step", grace_period=2, max_t=3, reduction_factor=2, stop_last_trials=False)
    outcomes, _ = outcomes_of(level, [1.0, 9.0, 0.5], scheduler=scheduler, max_concurrent_trials=1)
    assert [outcome.metrics["step"] for outcome in outcomes] == [4, 2, 4]
    assert all(outcome.error is None for outcome in outcomes)


def test_trials_have_the_head_s_credentials_and_not_the_driver_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the driver's own")

    def look(config: Mapping[str, Any]) -> None:
        tune.report({"cost": config["value"], "token": os.environ.get("AWS_SESSION_TOKEN", "none")})

    outcomes, _ = outcomes_of(look, [1])
    assert outcomes[0].metrics["token"] == "none"
    assert os.environ["AWS_SESSION_TOKEN"] == "the driver's own"


def test_running_trials_are_printed_after_a_long_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    def trial(value: int, status: str) -> Any:
        config = {"config": {"units": value}}
        return SimpleNamespace(config=config, status=status, is_finished=lambda: status == Trial.TERMINATED)

    trials = [trial(4, Trial.TERMINATED), trial(9, Trial.RUNNING), trial(12, Trial.PENDING)]
    said: list[str] = []
    progress = experiment._Progress(metric="cost", say=said.append)
    progress.on_step_begin(1, trials)
    assert said == []
    monkeypatch.setattr(experiment, "SILENCE_SECONDS", 0.0)
    progress.on_step_begin(2, trials)
    assert said == ["1 of 3 trials done, running: units 9"]
