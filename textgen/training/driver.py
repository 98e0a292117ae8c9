"""The driver of a training: checks, an estimate, Ray Train's workers, the outcome."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import ray
import ray.train
from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from textgen.errors import UserError
from textgen.model.checkpoint import find_checkpoint, latest_checkpoint
from textgen.private_folders import private_folder
from textgen.progress import Say
from textgen.runs import lease
from textgen.runs.estimate import report_duration
from textgen.runs.lineage import Source
from textgen.runs.model_card import write_model_card
from textgen.runs.recording import following
from textgen.runs.start import Start, keep_outcome, outcome_of, start_run
from textgen.runs.stopping import StoppedError, forwarding_signals, install
from textgen.spec import RunSpec
from textgen.training.backend import CollectiveConfig
from textgen.training.lost_workers import lost_workers_error
from textgen.training.threads import has_gpu, share_threads
from textgen.training.worker import work
from textgen.waiting import Need, reporting_waits, wait_for

Device = Literal["auto", "cpu", "gpu"]


def train(
    spec: RunSpec,
    *,
    manifest_uri: str,
    output: str,
    run_name: str | None = None,
    num_workers: int | None = None,
    device: Device = "auto",
    callbacks: Sequence[Any] = (),
    source: Source | None = None,
    acknowledge: bool = False,
    say: Say,
) -> dict[str, Any]:
    """Trains a run to its end on the connected Ray cluster, from its last checkpoint if it has one.

    Args:
        spec: what determines the run.
        manifest_uri: the windows to train on.
        output: folder or prefix of runs; this one is stored under its name.
        run_name: None derives it from spec and windows, so that the same command resumes the same run.
        num_workers: None takes one per GPU of the cluster, or one if it has none.
        device: the device of each worker; `auto` is a GPU if the cluster has one per worker now, `gpu` waits for them.
        callbacks: Ray Train's `UserCallback`s, which receive every report; a sweep watches its trials with them.
        source: the checkpoint that the run starts from; None starts with random weights.
        acknowledge: confirms that one person's texts may be used (`start.check_acknowledged`).
        say: receives lines of progress.
    """
    started = time.monotonic()
    start = start_run(
        spec,
        manifest_uri=manifest_uri,
        output=output,
        run_name=run_name,
        source=source,
        acknowledge=acknowledge,
        on_gpu=lambda: shared_out(num_workers, device)[2],
        say=say,
    )
    _report_start(start, say=say)
    outcome = start.outcome
    if outcome is None:
        outcome = _fit(start, num_workers=num_workers, device=device, callbacks=callbacks, say=say)
    write_model_card(start, outcome)
    checkpoint = find_checkpoint(start.run.run_uri)
    seconds = round(time.monotonic() - started, 1)
    about = {"checkpoint_uri": checkpoint.uri, "run_name": start.run.run_name}
    return {**about, **outcome, "best_step": checkpoint.step, "seconds": seconds}


def _report_start(start: Start, *, say: Say) -> None:
    """Reports the settings of an older version that a run keeps, and how to continue a finished run."""
    name = start.run.run_name
    if start.kept_settings:
        listed = ", ".join(f"{path}={value}" for path, value in start.kept_settings.items())
        say(f"the run {name} was started by an older version of textgen and keeps its settings: {listed}")
    if start.outcome is not None:
        setting = "raise training.patience" if start.outcome["stopped_early"] else "change training.max_steps"
        say(f"the run {name} is finished; {setting} to continue it, or start another --run-name")


class _Trainer(DataParallelTrainer):
    """Ray Train's trainer without its handler of Ctrl-C, which ends the workers before they have saved."""

    def _register_sigint_handler(self, controller: Any) -> None:
        """Registers nothing; `stopping` handles the signal."""


def _fit(
    start: Start, *, num_workers: int | None, device: Device, callbacks: Sequence[Any], say: Say
) -> dict[str, Any]:
    """Trains a run with Ray Train's workers, and returns its outcome."""
    run, spec = start.run, start.run.spec
    num_workers, resources, use_gpu = shared_out(num_workers, device)
    _check_num_workers(num_workers, spec)
    say(start.plan.describe(spec, num_workers=num_workers))
    need = need_of(num_workers, resources)
    wait_for(need, say=say)
    if not use_gpu:
        report_duration(start, num_workers=num_workers, num_threads=int(resources["CPU"]), say=say)
    scaling = ScalingConfig(num_workers=num_workers, use_gpu=use_gpu, resources_per_worker=resources)
    trainer = _trainer(start, scaling, num_threads=int(resources["CPU"]), callbacks=callbacks)
    with (
        reporting_waits(need, say=say),
        following(run.run_uri, say),
        forwarding_signals(run.run_uri, run.driver, say=say),
    ):
        try:
            trainer.fit()
        except KeyboardInterrupt:  # Before a worker trained, or for the second time.
            saved = latest_checkpoint(run.run_uri)
            raise StoppedError(run.run_name, saved.step if saved is not None else None, is_saved=False) from None
        except ray.train.WorkerGroupError as error:
            raise lost_workers_error(error, run) or error from error
    return _stored_outcome(start)


def _check_num_workers(num_workers: int, spec: RunSpec) -> None:
    """Checks that every worker has rows to compute.

    Raises:
        UserError: there are too many workers.
    """
    if num_workers > spec.training.global_batch_size:
        raise UserError(
            f"--num-workers {num_workers} is more than training.global_batch_size "
            f"{spec.training.global_batch_size}, and every worker needs a row; lower the former or raise the latter"
        )
    if spec.training.reduction == "fixed_order" and num_workers > spec.training.virtual_workers:
        raise UserError(
            f"--num-workers {num_workers} is more than training.virtual_workers {spec.training.virtual_workers}, whose "
            "gradients are summed in a fixed order; lower --num-workers, or start a run with more virtual workers"
        )


def _trainer(start: Start, scaling: ScalingConfig, *, num_threads: int, callbacks: Sequence[Any]) -> _Trainer:
    return _Trainer(
        work,
        train_loop_config={
            "run": start.run.to_dict(),
            "num_steps": start.plan.num_steps,
            "num_threads": num_threads,
            "use_gpu": scaling.use_gpu,
        },
        backend_config=CollectiveConfig(),
        scaling_config=scaling,
        run_config=RunConfig(  # type: ignore[arg-type]  # Ray's annotation names the class of Ray Train's version 1.
            # We write our own checkpoints, so Ray stores nothing of value: a folder on the controller's machine is
            # enough, a new one for each start. On S3 it would need objects that stand for folders.
            name=secrets.token_hex(8),  # The run's own name may already have the maximum length.
            storage_path=str(private_folder("ray-train")),
            failure_config=FailureConfig(max_failures=start.run.spec.training.max_failures),
            callbacks=list(callbacks),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )


def _stored_outcome(start: Start) -> dict[str, Any]:
    """Returns the outcome that the workers of a run have stored.

    Raises:
        UserError: a worker met one, or another driver holds the run's lease.
        StoppedError: the training was stopped, and is saved.
    """
    run = start.run
    outcome = outcome_of(run, num_steps=start.plan.num_steps)
    if outcome is None:
        lease.check(run.run_uri, run.driver)
        raise RuntimeError(f"the workers of {run.run_uri} ended without an outcome")
    if "user_error" in outcome:
        raise UserError(outcome["user_error"])
    if "stopped_at" in outcome:
        raise StoppedError(run.run_name, outcome["stopped_at"])
    return outcome


def train_here(
    spec: RunSpec,
    *,
    manifest_uri: str,
    output: str,
    run_name: str,
    num_threads: int,
    source: Source | None = None,
    acknowledge: bool = False,
    say: Say,
    report: Callable[[Mapping[str, Any]], None],
) -> dict[str, Any]:
    """Trains a run to its end in this process, as its only worker, and returns its outcome.

    It is the run that `train` would train under that name. `report` receives the figures of every validation.
    """
    start = start_run(
        spec,
        manifest_uri=manifest_uri,
        output=output,
        run_name=run_name,
        source=source,
        acknowledge=acknowledge,
        on_gpu=has_gpu,
        say=say,
    )
    run, outcome = start.run, start.outcome
    if outcome is None:
        share_threads(num_threads, run.spec.training)
        install()
        from textgen.training.loop import train_alone

        outcome = train_alone(run, say=say, report=report)
        keep_outcome(run, outcome)
    write_model_card(start, outcome)
    return outcome


def need_of(num_workers: int, resources: Mapping[str, float]) -> Need:
    """Returns the need of workers that reserve `resources` each."""
    workers = "1 training worker" if num_workers == 1 else f"{num_workers} training workers"
    return Need(what=workers, resources=resources, count=num_workers)


def shared_out(num_workers: int | None, device: Device) -> tuple[int, dict[str, float], bool]:
    """Returns the number of workers, the resources that each reserves, and whether these include a GPU."""
    total = ray.cluster_resources()
    num_gpus = int(total.get("GPU", 0))
    # `auto` takes GPUs only if there is one per worker; `gpu` waits for missing ones.
    use_gpu = device == "gpu" or (device == "auto" and num_gpus >= max(1, num_workers or 1))
    if num_workers is None:
        num_workers = max(1, num_gpus) if use_gpu else 1
    if num_workers < 1:
        raise UserError(f"--num-workers is {num_workers}; use 1 or more")
    if use_gpu:
        return num_workers, {"CPU": 1, "GPU": 1}, True
    node_cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    for cpus in range(max(node_cpus, default=1), 0, -1):
        if sum(node // cpus for node in node_cpus) >= num_workers:
            return num_workers, {"CPU": cpus}, False
    raise UserError(
        f"--num-workers {num_workers} needs a CPU per worker, but the cluster has {sum(node_cpus)}; "
        "lower --num-workers or add machines"
    )
