"""A sweep: compares hidden sizes by `val_bits_per_character`, then temperatures by divergence.

<output>/runs/units-64/   one run per hidden size, which resumes automatically
<output>/best/            the best checkpoint, with the best temperature in `sampling.json`
<output>/sweep.json       the request and the result, written last
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import secrets
import time
from collections.abc import Sequence
from typing import Any

import ray
from ray.tune.schedulers import ASHAScheduler

from textgen import storage
from textgen.counts.store import keep_copy
from textgen.errors import UserError
from textgen.evaluation.comparable import comparable
from textgen.generation.completions import SAMPLING_NAME
from textgen.model.checkpoint import MARKER_NAME, Checkpoint, best_checkpoint
from textgen.progress import Say
from textgen.runs import lease
from textgen.runs.plan import TrainingPlan
from textgen.runs.start import OUTCOME_NAME, check_acknowledged, check_resumes, settings_in_force
from textgen.spec import RunSpec, SamplingSpec, SweepSpec, override
from textgen.sweep.experiment import Outcome, run_experiment
from textgen.sweep.trials import reference_texts, run_name, runs_uri, temperature_trial, training_trial, trial_spec
from textgen.waiting import Need, reporting_waits, wait_for
from textgen.windows.manifest import Manifest

UNITS_METRIC = "val_bits_per_character"
TEMPERATURE_METRIC = "divergence"
FIRST_RUNG_SHARE = 4
"""Sizes are first compared after this fraction of the steps: one in four."""
SWEEP_NAME = "sweep.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """The best checkpoint of a hidden size."""

    units: int
    checkpoint: Checkpoint

    @property
    def bits(self) -> float:
        """Its `val_bits_per_character`; infinity if that is NaN."""
        return comparable(self.checkpoint.metrics[UNITS_METRIC])


def sweep(
    spec: RunSpec, *, windows_uri: str, output: str, num_workers: int = 1, acknowledge: bool = False, say: Say
) -> dict[str, Any]:
    """Runs both experiments, or resumes them, and returns the result.

    Needs a connected Ray. If `output` holds a finished sweep with the same settings, returns its result.

    Raises:
        UserError: `val` has no text, a run under `output` has other settings, the layers have different widths,
            another driver has claimed the sweep, or the cluster had no room within the limit of `waiting`.
    """
    started = time.monotonic()
    _check_spec(spec)
    output = storage.absolute(output)
    manifest = Manifest.load(windows_uri)
    check_acknowledged(spec, manifest, acknowledge=acknowledge)
    _check_val(spec, manifest)
    finished = _finished(output, spec, manifest)
    if finished is not None:
        say(f"the sweep in {output} is finished; use another --output for a new one")
        return finished
    for units in spec.sweep.units:
        check_resumes(storage.join(runs_uri(output), run_name(units)), trial_spec(spec, units), manifest)
    num_steps = TrainingPlan.of(spec, manifest).num_steps
    driver = secrets.token_hex(8)
    wait_for(need := _need(spec.sweep, num_workers), say=say)
    lease.claim(output, driver)  # After all checks.
    with reporting_waits(need, say=say):
        candidates, sizes = _sweep_units(
            spec, manifest, output, driver=driver, num_steps=num_steps, num_workers=num_workers, say=say
        )
    with reporting_waits(_need(spec.sweep, 1), say=say):
        best, temperature, temperatures = _sweep_temperatures(spec, manifest, candidates, say=say)
    sampling = dataclasses.replace(spec.sampling, temperature=temperature.config["temperature"])
    lease.check(output, driver)
    result = {
        "best_uri": _write_best(best.checkpoint, sampling, storage.join(output, "best")),
        "trials": len(sizes) + len(temperatures),
        UNITS_METRIC: best.bits,
        "units": best.units,
        "temperature": sampling.temperature,
        TEMPERATURE_METRIC: temperature.metrics[TEMPERATURE_METRIC],
        "units_trials": sizes,
        "temperature_trials": temperatures,
        "compared": f"character 3-grams of {spec.sweep.num_completions} completions of the empty prompt with the "
        f"beginnings of the documents of val, both of at most {spec.sweep.completion_chars} characters",
        "seconds": round(time.monotonic() - started, 1),
    }
    _write_result(result, output, spec, manifest)
    return result


def _check_spec(spec: RunSpec) -> None:
    if spec.model.layer_units:
        raise UserError(
            f"model.layer_units is {list(spec.model.layer_units)}, but a sweep tries one width for all layers; "
            "clear it with --set model.layer_units="
        )
    if spec.classifier.features is not None:
        raise UserError(
            f"classifier.features is {spec.classifier.features}, but a sweep searches language models; "
            "train classifiers one by one with jobs.train"
        )


def _check_val(spec: RunSpec, manifest: Manifest) -> None:
    if not any(len(text) >= 3 for text in reference_texts(manifest, spec.sweep)):
        raise UserError(
            f"the split val of {manifest.uri} has no text to compare with; ingest with corpus.val_share above 0"
        )


def _sweep_units(
    spec: RunSpec, manifest: Manifest, output: str, *, driver: str, num_steps: int, num_workers: int, say: Say
) -> tuple[list[Candidate], list[dict[str, Any]]]:
    """Trains every hidden size; returns those with a checkpoint, best first, and a summary of each trial."""
    resources = _trial_resources(spec.sweep, num_workers)
    outcomes = run_experiment(
        functools.partial(
            training_trial,
            spec=spec,
            windows_uri=manifest.uri,
            output=output,
            driver=driver,
            num_workers=num_workers,
            num_threads=max(1, int(resources["CPU"])),
        ),
        [{"units": units} for units in dict.fromkeys(spec.sweep.units)],
        metric=UNITS_METRIC,
        resources=resources,
        max_concurrent_trials=spec.sweep.max_concurrent_trials,
        scheduler=_halving(num_steps) if _can_stop_early(num_workers) else None,
        reuse_actors=num_workers == 1,  # The end of a trial must end the workers that it started.
        say=say,
    )
    candidates = []
    lines = []
    for outcome in outcomes:
        units = outcome.config["units"]
        run_uri = storage.join(runs_uri(output), run_name(units))
        checkpoint = best_checkpoint(run_uri)
        step = int(outcome.metrics.get("step", 0))
        line = {"units": units, "step": step, "num_steps": num_steps, UNITS_METRIC: outcome.metrics.get(UNITS_METRIC)}
        line["ended"] = _why_ended(outcome, step=step, num_steps=num_steps, run_uri=run_uri)
        if outcome.error is not None:
            line["error"] = _summary(outcome.error)
        if checkpoint is not None and not isinstance(outcome.error, UserError):
            candidates.append(Candidate(units=units, checkpoint=checkpoint))
            line[UNITS_METRIC] = candidates[-1].bits
        lines.append(line)
    if not candidates:
        raise UserError(
            f"no trial under {runs_uri(output)} has a best checkpoint, because no validation gave a number; "
            "lower training.learning_rate and use another --output"
        )
    return sorted(candidates, key=lambda candidate: candidate.bits), lines


def _why_ended(outcome: Outcome, *, step: int, num_steps: int, run_uri: str) -> str:
    """Returns why a trial ended."""
    if outcome.error is not None:
        return f"failed: {_summary(outcome.error)}"
    if step >= num_steps:
        return "all steps"
    # A run writes its outcome if it ends by itself, but not if its trial is stopped.
    if storage.exists(storage.join(run_uri, OUTCOME_NAME)):
        return "training.patience: no better validation"
    return "worse than others after as many steps"


def _halving(num_steps: int) -> ASHAScheduler:
    """Returns a scheduler that stops the worse half of the sizes after a quarter and after half of the steps."""
    first = max(1, -(-num_steps // FIRST_RUNG_SHARE))
    # There is no decision at the last step, where the run ends anyway.
    return ASHAScheduler(
        time_attr="step",
        grace_period=first,
        max_t=max(first, num_steps - 1),
        reduction_factor=2,
        stop_last_trials=False,
    )


def _can_stop_early(num_workers: int) -> bool:
    """Returns whether a stopped trial releases its CPUs.

    If a trial started workers, Ray Train releases them through Ray's state service. A cluster has that service, but the
    Ray that a job starts itself does not, so there every size is trained to its end.
    """
    return num_workers == 1 or bool(os.environ.get("RAY_ADDRESS"))


def _need(spec: SweepSpec, num_workers: int) -> Need:
    """Returns the resources that a trial needs, including its workers."""
    if num_workers == 1:
        return Need(what="a trial", resources=_trial_resources(spec, 1))
    from textgen.training.driver import need_of, shared_out  # Loads Ray Train.

    number, resources, _ = shared_out(num_workers, "auto")
    return need_of(number, resources)


def _trial_resources(spec: SweepSpec, num_workers: int) -> dict[str, float]:
    """Returns the resources that a trial reserves: a GPU, or an equal share of a machine's CPUs.

    A trial that starts workers leaves all CPUs to these, but Tune requires a reservation.
    """
    if num_workers > 1:
        return {"CPU": 0, "memory": 2**20}
    if ray.cluster_resources().get("GPU", 0) >= 1:
        return {"CPU": 1, "GPU": 1}
    largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    return {"CPU": max(1, largest // spec.max_concurrent_trials)}


def _sweep_temperatures(
    spec: RunSpec, manifest: Manifest, candidates: Sequence[Candidate], *, say: Say
) -> tuple[Candidate, Outcome, list[dict[str, Any]]]:
    """Tries every temperature with the best candidates; returns the best pair and a summary of each trial."""
    by_uri = {candidate.checkpoint.uri: candidate for candidate in candidates[: spec.sweep.num_best]}
    temperatures = dict.fromkeys(spec.sweep.temperatures)
    outcomes = run_experiment(
        functools.partial(temperature_trial, spec=spec, windows_uri=manifest.uri),
        [{"checkpoint_uri": uri, "temperature": value} for uri, value in itertools.product(by_uri, temperatures)],
        metric=TEMPERATURE_METRIC,
        resources=_trial_resources(spec.sweep, 1),
        max_concurrent_trials=spec.sweep.max_concurrent_trials,
        say=say,
    )
    succeeded = [outcome for outcome in outcomes if TEMPERATURE_METRIC in outcome.metrics]
    best = min(succeeded, key=lambda outcome: comparable(outcome.metrics[TEMPERATURE_METRIC]))
    lines = []
    for outcome in outcomes:
        line = {
            "units": by_uri[outcome.config["checkpoint_uri"]].units,
            "temperature": outcome.config["temperature"],
            TEMPERATURE_METRIC: outcome.metrics.get(TEMPERATURE_METRIC),
        }
        lines.append(line if outcome.error is None else line | {"error": _summary(outcome.error)})
    return by_uri[best.config["checkpoint_uri"]], best, lines


def _write_best(checkpoint: Checkpoint, sampling: SamplingSpec, uri: str) -> str:
    """Writes a checkpoint with `sampling` as its default settings, and `sampling.json`; the marker comes last."""
    storage.delete(storage.join(uri, MARKER_NAME))
    content = json.dumps(dataclasses.asdict(sampling), ensure_ascii=False, indent=1)
    storage.write_bytes(storage.join(uri, SAMPLING_NAME), content.encode())
    spec = dataclasses.replace(checkpoint.spec, sampling=sampling)
    if checkpoint.counts is not None:
        keep_copy(checkpoint.counts, uri, sources=checkpoint.run_folders)
    return dataclasses.replace(checkpoint, uri=uri, spec=spec).save(weights=checkpoint.weights).uri


def _write_result(result: dict[str, Any], output: str, spec: RunSpec, manifest: Manifest) -> None:
    request = {"spec": spec.to_dict(), "manifest_hash": manifest.hash}
    content = json.dumps({"request": request, "result": result}, ensure_ascii=False, indent=1)
    storage.write_bytes(storage.join(output, SWEEP_NAME), content.encode())


def _finished(output: str, spec: RunSpec, manifest: Manifest) -> dict[str, Any] | None:
    """Returns the result of a finished sweep with the same settings, or None."""
    content = storage.read_if_exists(storage.join(output, SWEEP_NAME))
    if content is None:
        return None
    before = json.loads(content)
    request, result = before["request"], before["result"]
    stored = request["spec"]
    is_same = RunSpec.from_dict(stored) == override(spec, settings_in_force(spec, stored))
    complete = storage.exists(storage.join(result["best_uri"], MARKER_NAME))
    return dict(result) if is_same and request["manifest_hash"] == manifest.hash and complete else None


def _summary(error: Exception) -> str:
    """Returns the last line of an error, without the remote traceback that Ray puts before it."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
