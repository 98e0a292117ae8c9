"""Runs a function once for every config, as trials of a Ray Tune experiment.

What a trial leaves behind (the checkpoints of a run) it writes by itself, so Tune's own states are disposable and lie
in a temporary folder of the driver, on any cluster.
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
"""What Tune would copy into the runtime environment of its trials, where every listing of actors shows it."""
TUNE_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # Its banners come whatever the verbosity; the old output keeps to it.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # Relative paths keep their meaning.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the job, and its trials with it.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # A report of a mistake has no metric.
}
SILENCE_SECONDS = 10.0
"""After so long without a report, a line says which trials run."""
MISTAKE, UNAVAILABLE = "user_error", "unavailable"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one trial."""

    config: Config
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """What it reported last; empty where it failed before it reported."""
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
    """Calls `function` with every config, started in their order, and returns the outcomes in that order.

    The function reports by `ray.tune.report`; a smaller metric is better. Trials one after another share a process,
    since TensorFlow takes 10 s to load on a slow core, unless `reuse_actors` is off. A trial that fails is an outcome
    with an error, so that one size too large for the machine, or one that diverges, does not sink the others.

    Raises:
        UnavailableError: storage was not there for a trial, so that another try may bring what this one lacks.
        Exception: the first trial's error, where all of them failed.
    """
    for name, value in TUNE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)

    def trial(parameters: dict[str, Any]) -> None:
        try:
            function(parameters["config"])
        except UserError as mistake:  # Raised, Tune would print it with its traceback.
            tune.report({UNAVAILABLE if isinstance(mistake, UnavailableError) else MISTAKE: str(mistake)})

    with (
        tempfile.TemporaryDirectory(prefix="textgen-sweep-") as folder,
        contextlib.redirect_stdout(sys.stderr),  # Where Tune prints a failed trial.
        _without_secrets(),
    ):
        tuner = tune.Tuner(
            tune.with_resources(trial, dict(resources)),
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
    outcomes = []
    for config in configs:
        result = next((r for r in results if r.config is not None and r.config["config"] == dict(config)), None)
        if result is None:  # Tune ends without a word where it loses the cluster.
            raise RuntimeError(f"the trial {dict(config)} was not run; the Ray cluster may have been stopped")
        metrics = result.metrics or {}
        if UNAVAILABLE in metrics:
            raise UnavailableError(metrics[UNAVAILABLE])
        error = UserError(metrics[MISTAKE]) if MISTAKE in metrics else result.error
        outcomes.append(Outcome(config=config, metrics=metrics, error=error))
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if len(errors) == len(outcomes):
        raise errors[0]
    return outcomes


@contextlib.contextmanager
def _without_secrets() -> Iterator[None]:
    """Hides the driver's S3 credentials from Tune; the trials have those of the head, as all workers do."""
    hidden = {name: os.environ.pop(name) for name in SECRETS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


class _Progress(tune.Callback):
    """Says what trials report."""

    def __init__(self, *, metric: str, say: Say) -> None:
        self._metric = metric
        self._say = say
        self._last: dict[str, tuple[Any, float]] = {}
        self._said = time.monotonic()

    def _tell(self, message: str) -> None:
        self._said = time.monotonic()
        self._say(message)

    def on_step_begin(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Trial],
        **info: Any,  # noqa: ARG002
    ) -> None:
        """Says which trials run, where nothing was said for long."""
        if time.monotonic() - self._said >= SILENCE_SECONDS:
            done = sum(trial.is_finished() for trial in trials)
            running = "; ".join(_name(trial) for trial in trials if trial.status == Trial.RUNNING) or "none"
            self._tell(f"{done} of {len(trials)} trials done, running: {running}")

    def on_trial_result(  # Tune passes more than this has a use for.
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Trial],  # noqa: ARG002
        trial: Trial,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        problem = result.get(MISTAKE) or result.get(UNAVAILABLE)
        if problem is not None:
            self._tell(f"{_name(trial)}: failed: {problem}")
        elif self._metric in result and self._last.get(trial.trial_id) != (result.get("step"), result[self._metric]):
            self._last[trial.trial_id] = (result.get("step"), result[self._metric])  # A run's outcome comes twice.
            step = f" at step {result['step']:,}" if "step" in result else ""
            self._tell(f"{_name(trial)}: {self._metric} {result[self._metric]:.4f}{step}")

    def on_trial_error(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Trial],  # noqa: ARG002
        trial: Trial,
        **info: Any,  # noqa: ARG002
    ) -> None:
        self._tell(f"{_name(trial)}: failed")


def _name(trial: Trial) -> str:
    return ", ".join(f"{name} {value}" for name, value in trial.config["config"].items())
