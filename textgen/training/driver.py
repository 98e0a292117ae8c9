"""A training as its driver sees it: checks, an estimate, Ray Train's workers, the outcome."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import ray
import ray.train
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback
from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from textgen import storage
from textgen.errors import UnavailableError, UserError
from textgen.model.checkpoint import checkpoint_uris, find_checkpoint, latest_checkpoint, step_of
from textgen.private_folders import private_folder
from textgen.progress import Say
from textgen.runs import lease
from textgen.runs.estimate import LONG_SECONDS, Machine, measured_speed, shorter, training_seconds
from textgen.runs.lease import LeaseLostError
from textgen.runs.lineage import Source
from textgen.runs.model_card import write_model_card
from textgen.runs.position import Run
from textgen.runs.preemption import watching_for_preemption
from textgen.runs.recording import RunLog, duration, following
from textgen.runs.start import Start, keep_outcome, outcome_of, start_run
from textgen.runs.stopping import StoppedError, install, passing_on
from textgen.spec import RunSpec
from textgen.training.backend import CollectiveConfig
from textgen.training.threads import has_gpu, require_gpu, share_threads
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
    """Trains a run to its end on the connected Ray cluster, from its last checkpoint where it has one.

    Args:
        spec: what determines the run.
        manifest_uri: the windows to train on.
        output: folder or prefix of runs; this one lives under its name.
        run_name: None derives it from spec and windows, so that the same command resumes the same run.
        num_workers: None takes one for each GPU of the cluster, or one where it has none.
        device: what each worker has; `auto` is a GPU where the cluster has one for each now, `gpu` waits until it has.
        callbacks: Ray Train's `UserCallback`s, which see every report; how a sweep watches its trials.
        source: the checkpoint that it begins from; None begins with random weights.
        acknowledge: where the texts are one person's, says that they may be used so (`start.check_acknowledged`).
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
    run, outcome = start.run, start.outcome
    if start.kept_settings:
        listed = ", ".join(f"{path}={value}" for path, value in start.kept_settings.items())
        say(f"the run {run.run_name} was begun by an older version of textgen, and goes on with its settings: {listed}")
    if outcome is not None:
        setting = "raise training.patience" if outcome["stopped_early"] else "change training.max_steps"
        say(f"the run {run.run_name} is finished; {setting} to go on, or --run-name to begin anew")
    else:
        outcome = _fit(start, num_workers=num_workers, device=device, callbacks=callbacks, say=say)
    write_model_card(start, outcome)
    checkpoint = find_checkpoint(run.run_uri)
    return {
        "checkpoint_uri": checkpoint.uri,
        "run_name": run.run_name,
        **outcome,
        "best_step": checkpoint.step,
        "seconds": round(time.monotonic() - started, 1),
    }


class _Trainer(DataParallelTrainer):
    """Ray Train's, which leaves Ctrl-C to the listener: its own handler ends the workers before they have saved."""

    def _register_sigint_handler(self, controller: Any) -> None:
        """Takes nothing over."""


def _fit(
    start: Start, *, num_workers: int | None, device: Device, callbacks: Sequence[Any], say: Say
) -> dict[str, Any]:
    """Trains by Ray Train's workers and returns the outcome."""
    run, spec = start.run, start.run.spec
    num_workers, resources, use_gpu = shared_out(num_workers, device)
    if num_workers > spec.training.global_batch_size:
        raise UserError(
            f"--num-workers {num_workers} is more than training.global_batch_size "
            f"{spec.training.global_batch_size}, and a worker needs a row; lower the one or raise the other"
        )
    if spec.training.reduction == "fixed_order" and num_workers > spec.training.virtual_workers:
        raise UserError(
            f"--num-workers {num_workers} is more than training.virtual_workers {spec.training.virtual_workers}, whose "
            "gradients are summed in a fixed order; lower the one, or begin a run with more of the other"
        )
    say(start.plan.describe(spec, num_workers=num_workers))
    need = need_of(num_workers, resources)
    wait_for(need, say=say)
    if not use_gpu:
        _say_how_long(start, num_workers=num_workers, num_threads=int(resources["CPU"]), say=say)
    trainer = _Trainer(
        work,
        train_loop_config={
            "run": run.to_dict(),
            "num_steps": start.plan.num_steps,
            "num_threads": int(resources["CPU"]),
            "use_gpu": use_gpu,
        },
        backend_config=CollectiveConfig(),
        scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=use_gpu, resources_per_worker=resources),
        run_config=RunConfig(  # type: ignore[arg-type]  # Annotated as that before Ray Train's version 2.
            # Checkpoints are our own, so that Ray stores nothing of worth: a place on the controller's machine will
            # do, new for each start, where on S3 it would need objects that stand for folders.
            name=secrets.token_hex(8),  # A run's own name may be as long as a name can be.
            storage_path=str(private_folder("ray-train")),
            failure_config=FailureConfig(max_failures=spec.training.max_failures),
            callbacks=list(callbacks),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    with reporting_waits(need, say=say), following(run.run_uri, say), passing_on(run.run_uri, run.driver, say=say):
        try:
            trainer.fit()
        except KeyboardInterrupt:  # Before a worker trained, or for the second time.
            saved = latest_checkpoint(run.run_uri)
            raise StoppedError(run.run_name, saved.step if saved is not None else None, is_saved=False) from None
        except ray.train.WorkerGroupError as error:
            raise _lost_workers(error, run) or error from error
    outcome = outcome_of(run, num_steps=start.plan.num_steps)
    if outcome is None:
        lease.check(run.run_uri, run.driver)
        raise RuntimeError(f"the workers of {run.run_uri} ended without an outcome")
    if "user_error" in outcome:
        raise UserError(outcome["user_error"])
    if "stopped_at" in outcome:
        raise StoppedError(run.run_name, outcome["stopped_at"])
    return outcome


def _say_how_long(start: Start, *, num_workers: int, num_threads: int, say: Say) -> None:
    """Says about how long the training takes, if the workers' machines are like this one, and what would be shorter."""
    machine = Machine(speed=measured_speed(), num_workers=num_workers, num_threads=num_threads)
    uris = checkpoint_uris(start.run.run_uri)
    first_step = step_of(uris[-1]) if uris else 0
    spec, plan = start.run.spec, start.plan
    seconds = training_seconds(spec, plan, machine, first_step=first_step)
    begins = f" from step {first_step:,}" if first_step else ""
    say(f"about {duration(seconds)} to the end{begins}, by this machine's speed; said again when steps are measured")
    if seconds > LONG_SECONDS:
        say(shorter(spec, plan, start.manifest, machine, first_step=first_step))


def _lost_workers(error: ray.train.WorkerGroupError, run: Run) -> UserError | None:
    """Returns the words for workers that were lost once more than the spec allows; None where they failed otherwise."""
    failures = list(error.worker_failures.values())
    raised = [failure._base_exc for failure in failures if isinstance(failure, UserExceptionWithTraceback)]
    lost = [failure for failure in failures if not isinstance(failure, UserExceptionWithTraceback)]
    # Where one is lost, the others fail in what they were doing together.
    if not lost or any(isinstance(one, UserError) for one in raised):
        return None
    saved = latest_checkpoint(run.run_uri)
    state = "has no checkpoint yet" if saved is None else f"is saved at step {saved.step:,}"
    why = str(lost[0]).strip().splitlines()[0].rstrip(".")
    return UserError(
        f"workers of {run.run_uri} were lost more often than training.max_failures allows "
        f"({run.spec.training.max_failures}), the last time by: {why}. It {state}, "
        "and the same command goes on from there; where memory was short, take fewer workers or a smaller "
        "training.global_batch_size"
    )


def work(config: Mapping[str, Any]) -> None:
    """What every worker does: sets TensorFlow up, joins the others, trains."""
    run = Run.from_dict(config["run"])
    # All is told: by this driver's workers before, whose mistake these would meet again, or by another's who finished.
    if outcome_of(run, num_steps=config["num_steps"]) is not None:
        return
    share_threads(config["num_threads"], run.spec.training, use_gpu=config["use_gpu"])
    from textgen.training.collective import Alone, Workers
    from textgen.training.loop import train_worker

    collective = Workers() if ray.train.get_context().get_world_size() > 1 else Alone()
    try:
        if config["use_gpu"]:
            require_gpu()
        with storage.disk_full_as_user_error(), watching_for_preemption() as preempted:
            say = RunLog(run.run_uri).say
            outcome = train_worker(run, collective, say=say, report=_report, preempted=preempted)
    except UnavailableError:
        raise  # Ray Train starts all workers again, a few times: what is not available now may be then.
    except LeaseLostError:  # All workers know, and the driver will find the same.
        return
    except UserError as error:
        keep_outcome(run, {"user_error": str(error)})
        if collective.num_workers > 1:  # It ends the others, who may not have met it and wait for this one.
            raise
        return
    except StoppedError as error:
        outcome = {"stopped_at": error.step}
    if collective.rank == 0:
        keep_outcome(run, outcome)


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

    It is the same run as `train`'s of that name; `report` receives the figures of every validation.
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


def _report(metrics: Mapping[str, Any]) -> None:
    ray.train.report(dict(metrics))


def need_of(num_workers: int, resources: Mapping[str, float]) -> Need:
    """Returns what workers that reserve `resources` each need of the cluster."""
    workers = "1 training worker" if num_workers == 1 else f"{num_workers} training workers"
    return Need(what=workers, resources=resources, count=num_workers)


def shared_out(num_workers: int | None, device: Device) -> tuple[int, dict[str, float], bool]:
    """Returns how many workers there are, what each reserves, and whether that is a GPU."""
    total = ray.cluster_resources()
    num_gpus = int(total.get("GPU", 0))
    # Fewer than there are workers would never be enough; whoever names them waits for more.
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
        f"--num-workers {num_workers} needs as many CPUs and the cluster has {sum(node_cpus)}; "
        "lower --num-workers or add machines"
    )
