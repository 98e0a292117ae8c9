"""The training of one run, as each of its workers executes it.

All workers make the same decisions at the same steps, because they decide by sums over all of them: when to write a
checkpoint, which validation is the best, when to stop.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tensorflow as tf

from textgen.model.checkpoint import weights_hash
from textgen.progress import Say, silent
from textgen.runs.plan import TrainingPlan, inputs_per_row
from textgen.runs.position import Run
from textgen.runs.precision import precision_line
from textgen.runs.preemption import PreemptedError
from textgen.runs.saving import BackgroundWriter
from textgen.runs.schedule import learning_rate
from textgen.runs.stopping import LISTENER, StoppedError, watching_stop_file
from textgen.training.checkpointing import Checkpointing
from textgen.training.collective import Alone, Collective
from textgen.training.divergence import described_step, failure_at
from textgen.training.journal import Journal
from textgen.training.learner import Learner
from textgen.training.step import Figures, Wishes
from textgen.training.team import Team
from textgen.windows.batches import Batch
from textgen.windows.manifest import Manifest

Report = Callable[[Mapping[str, Any]], None]


def train_worker(
    run: Run,
    collective: Collective,
    *,
    say: Say,
    report: Report,
    preempted: threading.Event | None = None,
) -> dict[str, Any]:
    """Trains a run as one of its workers, from its newest checkpoint to its end, and returns its last figures.

    Args:
        run: the run to train.
        collective: this worker's rank, and its sums over all workers.
        say: receives the first worker's lines of progress.
        report: receives the figures of every validation.
        preempted: is set when this worker's machine is about to be preempted.

    Raises:
        LeaseLostError: another driver trains the run now; every worker raises it.
        StoppedError: a signal requested it, and the training is saved.
        PreemptedError: a worker's machine is about to be preempted, and the training is saved.
    """
    team = Team(run, collective)  # First, because only the holder of the lease may report errors of the run.
    say = say if team.is_first else silent
    manifest = Manifest.load(run.manifest_uri)
    plan = TrainingPlan.of(run.spec, manifest)
    learner = Learner(run, manifest, plan, team, say=say)
    first_step = learner.position.step
    line = precision_line(run.spec)
    if line is not None and first_step == 0 and not tf.config.list_logical_devices("GPU"):
        say(line)  # Only at the first start, because a run keeps its precision.
    with LISTENER.training() as stop, contextlib.ExitStack() as stack:
        if team.is_first:
            stack.enter_context(watching_stop_file(run.run_uri, run.driver, stop))
        counted = learner.objective.counted
        journal = stack.enter_context(Journal(run, plan, team, counted=counted, first_step=first_step, say=say))
        with BackgroundWriter() as writer:
            checkpoints = Checkpointing(run, manifest, plan, team, learner=learner, journal=journal, writer=writer)
            TrainingLoop(
                run,
                plan,
                learner,
                team=team,
                checkpoints=checkpoints,
                journal=journal,
                report=report,
                stop=stop,
                preempted=preempted or threading.Event(),
            ).run()
        return _outcome(run, plan, learner, num_workers=team.num_workers, journal=journal)


def train_alone(run: Run, *, say: Say, report: Report) -> dict[str, Any]:
    """Trains a run in this process, as its only worker."""
    return train_worker(run, Alone(), say=say, report=report)


def has_stalled(run: Run, learner: Learner) -> bool:
    """Returns whether the validations since the best one have exhausted the spec's patience."""
    patience = run.spec.training.patience
    return patience is not None and learner.position.stale_validations >= patience


class TrainingLoop:
    """One worker's steps, each followed by a validation, a checkpoint or an end if one is due."""

    def __init__(
        self,
        run: Run,
        plan: TrainingPlan,
        learner: Learner,
        *,
        team: Team,
        checkpoints: Checkpointing,
        journal: Journal,
        report: Report,
        stop: threading.Event,
        preempted: threading.Event,
    ) -> None:
        self._run = run
        self._spec = run.spec.training
        self._plan = plan
        self._learner = learner
        self._position = learner.position
        self._team = team
        self._checkpoints = checkpoints
        self._journal = journal
        self._report = report
        self._stop = stop
        self._preempted = preempted

    def run(self) -> None:
        """Trains to the end, or until the validation loss has stalled."""
        for batch in self._batches():
            if has_stalled(self._run, self._learner):
                stale = self._position.stale_validations
                self._journal.say(f"stopped early: {stale} validations without a better loss")
                return
            self._train_on(batch)

    def _batches(self) -> Iterator[Batch]:
        """Yields this worker's rows of every step; the next batch is read while a step is computed."""
        first_step, clock = self._position.step, self._journal.clock
        rows = self._learner.first_row, self._learner.last_row
        with self._learner.objective.reading(rows) as read, ThreadPoolExecutor(max_workers=1) as pool:
            pending = pool.submit(read, first_step)
            for step in range(first_step, self._plan.num_steps):
                with clock.measuring("data"):
                    batch = pending.result()
                pending = pool.submit(read, step + 1)
                yield batch

    def _train_on(self, batch: Batch) -> None:
        """Makes a step, and the validation, checkpoint or end that is due after it."""
        rate = learning_rate(batch.step, self._spec, num_steps=self._plan.num_steps)
        figures = self._step(batch, rate)
        self._journal.record_step(batch, figures, first_row=self._learner.first_row)
        if self._validates():
            with self._journal.clock.measuring("validation"):
                is_best = self._validate(rate)
            with self._journal.clock.measuring("checkpoint"):
                self._checkpoints.save(is_best=is_best)
                self._checkpoints.wait()  # A sweep may stop a trial at its report, and must find the checkpoint.
            self._report({"step": self._position.step, "epoch": self._position.epoch, **self._position.metrics})
        elif figures.wishes.any() or self._checkpoints.is_due_by_step():
            with self._journal.clock.measuring("checkpoint"):
                self._checkpoints.save(is_best=False)
        self._end_if_wished(figures.wishes)

    def _step(self, batch: Batch, rate: float) -> Figures:
        """Makes a step and adds it to the position.

        Raises:
            UserError: the loss has diverged, or is not a number and the spec says to stop then.
        """
        started, cpu_started = time.monotonic(), time.process_time()
        if self._plan.lanes.starts_epoch(batch.step):
            self._learner.step.reset_state()
        wishes = Wishes(
            checkpoint=self._checkpoints.is_due_by_time(),
            stop=self._stop.is_set(),
            preempted=self._preempted.is_set(),
        )
        figures = self._learner.step(batch, learning_rate=rate, wishes=wishes)
        seconds = time.monotonic() - started
        num_inputs = len(batch.inputs) * inputs_per_row(self._run.spec)
        self._journal.clock.add_step(seconds=seconds, reduce_seconds=figures.reduce_seconds, num_inputs=num_inputs)
        if not figures.is_finite:
            self._skip(batch.step, figures.nats)
            return figures
        self._position.note_step(
            nats=figures.nats,
            characters=figures.characters,
            steps_per_epoch=self._plan.lanes.steps_per_epoch,
            seconds=seconds,
            cpu_seconds=time.process_time() - cpu_started,
        )
        self._journal.add_step(self._position, figures, seconds=seconds)
        if self._learner.watch.has_diverged(nats=figures.nats, predictions=figures.characters):
            self._checkpoints.settle()
            raise failure_at(batch.step, self._learner.watch.message(), run_uri=self._run.run_uri, plan=self._plan)
        return figures

    def _skip(self, step: int, nats: float) -> None:
        """Skips a step whose loss or gradient is not finite, or ends the training, as the spec says.

        Raises:
            UserError: the spec says to stop.
        """
        reason = f"the loss ({nats}) or the gradient is not finite"
        if self._spec.nonfinite == "stop":
            self._checkpoints.settle()
            advice = ", or skip such steps with training.nonfinite=skip"
            raise failure_at(step, reason, run_uri=self._run.run_uri, plan=self._plan, advice=advice)
        self._position.note_skipped(steps_per_epoch=self._plan.lanes.steps_per_epoch)
        self._journal.say(f"skipped because {reason}: {described_step(step, self._plan)}")

    def _validates(self) -> bool:
        step = self._position.step
        return step % self._spec.validate_every_steps == 0 or step == self._plan.num_steps

    def _validate(self, rate: float) -> bool:
        """Measures the model on `val`, logs samples, and returns whether it is the best so far."""
        objective, metrics = self._learner.objective, self._position.metrics
        validation = objective.validate()
        self._team.check_lease()
        loss = math.inf if metrics["loss"] is None else metrics["loss"]  # None if every step was skipped.
        line = f"step {self._position.step:,}  loss {loss:.3f}"
        if validation is not None:
            metrics.update(validation.metrics)
            line += f"  {validation.summary}"
        is_best = self._position.note_validation(loss if validation is None else validation.loss)
        self._journal.say(line + ("  best so far" if is_best else ""))
        samples = objective.samples()
        for name, text in samples.items():
            self._journal.say(f"  {name}: {text!r}")
        self._journal.add_validation(self._position, samples, learning_rate=rate)
        return is_best

    def _end_if_wished(self, wishes: Wishes) -> None:
        """Ends the training, which is saved, if any worker has a reason to.

        Raises:
            StoppedError: a signal requested it.
            PreemptedError: a worker's machine is about to be preempted.
        """
        step = self._position.step
        if wishes.stop:
            self._checkpoints.settle()
            self._journal.say(f"stopped: saved step {step:,}")
            raise StoppedError(self._run.run_name, step)
        if wishes.preempted:
            self._checkpoints.settle()
            self._journal.say(f"a machine is being preempted: saved step {step:,}")
            raise PreemptedError(step)


def _outcome(run: Run, plan: TrainingPlan, learner: Learner, *, num_workers: int, journal: Journal) -> dict[str, Any]:
    """Returns the figures of a finished training."""
    position = learner.position
    return {
        "step": position.step,
        "epoch": round(position.epoch, 4),
        **position.metrics,
        "skipped_steps": position.skipped_steps,
        "parameters": plan.num_parameters,
        "num_workers": num_workers,
        **journal.summary(),
        "weights_sha256": weights_hash(learner.model.get_weights_by_name()),
        "stale_validations": position.stale_validations,
        "stopped_early": has_stalled(run, learner) and position.step < plan.num_steps,
    }
