"""Runs a function once per config, as trials of a Ray Tune experiment.

Each trial writes its own output (the checkpoints of a run), so Tune's state is disposable and is kept in a temporary
folder of the driver, on any cluster.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from textgen.errors import UnavailableError, UserError
from textgen.progress import Say

Config = Mapping[str, Any]
TrialFunction = Callable[[Config], None]
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
"""Variables that Tune would copy to the runtime environment of its trials, which every listing of actors shows."""
TUNE_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # The new output prints banners at any verbosity; the old one respects it.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # Keeps relative paths valid.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the job and its trials.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # The report of a user error has no metric.
}
SILENCE_SECONDS = 10.0
"""Seconds without a report after which the running trials are printed."""
USER_ERROR, UNAVAILABLE = "user_error", "unavailable"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a trial."""

    config: Config
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Its last report; empty if it failed before it reported."""
    error: Exception | None = None


def run_experiment(
    function: TrialFunction,
    configs: Sequence[Config],
    *,
    metric: str,
    resources: Mapping[str, float],
    max_concurrent_trials: int,
    scheduler: TrialScheduler | None = None,
    reuse_actors: bool = True,
    say: Say,
) -> list[Outcome]:
    """Calls `function` with every config, starting in order, and returns the outcomes in the same order.

    The function reports with `ray.tune.report`; a smaller metric is better. Consecutive trials share a process, because
    loading TensorFlow takes 10 s on a slow core, unless `reuse_actors` is False. A failed trial gives an outcome with
    an error, so a size that is too large for the machine, or that diverges, does not end the others.

    Raises:
        UnavailableError: storage was unavailable for a trial, so another attempt may succeed.
        Exception: the first trial's error, if all trials failed.
    """
    for name, value in TUNE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with (
        tempfile.TemporaryDirectory(prefix="textgen-sweep-") as folder,
        contextlib.redirect_stdout(sys.stderr),  # Tune prints failed trials on stdout.
        _without_secrets(),
    ):
        tuner = tune.Tuner(
            tune.with_resources(_reporting_errors(function), dict(resources)),
            param_space={"config": tune.grid_search([dict(config) for config in configs])},
            tune_config=tune.TuneConfig(
                metric=metric,
                mode="min",
                scheduler=scheduler,
                max_concurrent_trials=max_concurrent_trials,
                reuse_actors=reuse_actors,
            ),
            run_config=tune.RunConfig(
                name="sweep", storage_path=folder, verbose=0, callbacks=[_Progress(metric=metric, say=say)]
            ),
        )
        grid = tuner.fit()
        results = [grid[index] for index in range(len(grid))]
    return _outcomes(configs, results)


def _reporting_errors(function: TrialFunction) -> Callable[[dict[str, Any]], None]:
    def trial(parameters: dict[str, Any]) -> None:
        try:
            function(parameters["config"])
        except UserError as error:  # Tune would print a raised error with its traceback.
            tune.report({UNAVAILABLE if isinstance(error, UnavailableError) else USER_ERROR: str(error)})

    return trial


def _outcomes(configs: Sequence[Config], results: Sequence[tune.Result]) -> list[Outcome]:
    """Returns the outcomes in the order of the configs; raises the first error if all trials failed."""
    outcomes = []
    for config in configs:
        result = next((r for r in results if r.config is not None and r.config["config"] == dict(config)), None)
        if result is None:  # Tune ends silently if it loses the cluster.
            raise RuntimeError(f"the trial {dict(config)} was not run; the Ray cluster may have been stopped")
        metrics = result.metrics or {}
        if UNAVAILABLE in metrics:
            raise UnavailableError(metrics[UNAVAILABLE])
        error = UserError(metrics[USER_ERROR]) if USER_ERROR in metrics else result.error
        outcomes.append(Outcome(config=config, metrics=metrics, error=error))
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if len(errors) == len(outcomes):
        raise errors[0]
    return outcomes


@contextlib.contextmanager
def _without_secrets() -> Iterator[None]:
    """Hides the driver's S3 credentials from Tune; trials use the credentials of the head, like all workers."""
    hidden = {name: os.environ.pop(name) for name in SECRETS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


class _Progress(tune.Callback):
    """Prints the reports of trials."""

    def __init__(self, *, metric: str, say: Say) -> None:
        self._metric = metric
        self._say = say
        self._last: dict[str, tuple[Any, float]] = {}
        self._said = time.monotonic()

    def _print(self, message: str) -> None:
        self._said = time.monotonic()
        self._say(message)

    def on_step_begin(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Trial],
        **info: Any,  # noqa: ARG002
    ) -> None:
        """Prints the running trials after a long silence."""
        if time.monotonic() - self._said >= SILENCE_SECONDS:
            done = sum(trial.is_finished() for trial in trials)
            running = "; ".join(_name(trial) for trial in trials if trial.status == Trial.RUNNING) or "none"
            self._print(f"{done} of {len(trials)} trials done, running: {running}")

    def on_trial_result(  # Tune passes more arguments than are used.
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Trial],  # noqa: ARG002
        trial: Trial,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        problem = result.get(USER_ERROR) or result.get(UNAVAILABLE)
        if problem is not None:
            self._print(f"{_name(trial)}: failed: {problem}")
        elif self._metric in result and self._last.get(trial.trial_id) != (result.get("step"), result[self._metric]):
            self._last[trial.trial_id] = (result.get("step"), result[self._metric])  # A run reports its outcome twice.
            step = f" at step {result['step']:,}" if "step" in result else ""
            self._print(f"{_name(trial)}: {self._metric} {result[self._metric]:.4f}{step}")

    def on_trial_error(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Trial],  # noqa: ARG002
        trial: Trial,
        **info: Any,  # noqa: ARG002
    ) -> None:
        self._print(f"{_name(trial)}: failed")


def _name(trial: Trial) -> str:
    return ", ".join(f"{name} {value}" for name, value in trial.config["config"].items())
