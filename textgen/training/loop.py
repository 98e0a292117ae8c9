"""The training of one run, as each of its workers executes it.

All workers take the same decisions at the same steps, because they decide by sums over all of them: when to write a
checkpoint, which validation was the best, when to stop.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import resource
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from textgen.model.checkpoint import weights_hash
from textgen.progress import Say, silent
from textgen.runs import lease
from textgen.runs.lease import LeaseLostError
from textgen.runs.plan import TrainingPlan, inputs_per_row
from textgen.runs.position import Position, Run, save_checkpoint
from textgen.runs.precision import precision_line
from textgen.runs.preemption import PreemptedError
from textgen.runs.recording import ProgressLines, StepRecord, ValidationRecords
from textgen.runs.saving import BackgroundWriter
from textgen.runs.schedule import learning_rate
from textgen.runs.stopping import LISTENER, StoppedError, watching_the_stop_file
from textgen.training.clock import Clock
from textgen.training.collective import Alone, Collective, HostSum
from textgen.training.divergence import LossWatch, place_of, refusal
from textgen.training.objective import objective_of
from textgen.training.restoring import position_of, restored, share_weights, take_up
from textgen.training.step import Figures, TrainingStep, parts_of
from textgen.windows.batches import Batch
from textgen.windows.manifest import Manifest

Report = Callable[[Mapping[str, Any]], None]


class TrainingLoop:
    """One worker's part in a training, from its last checkpoint to its end."""

    def __init__(
        self,
        run: Run,
        collective: Collective,
        *,
        say: Say,
        report: Report,
        preempted: threading.Event | None = None,
    ) -> None:
        """Takes the run for its driver, and builds the model.

        Args:
            run: what is trained.
            collective: this worker's place among the others.
            say: receives the first worker's lines of progress.
            report: receives the figures of every validation.
            preempted: is set when this worker's machine is about to go.

        Raises:
            LeaseLostError: another driver has taken it since; every worker raises it.
        """
        self._run = run
        self._spec = run.spec.training
        self._is_first = collective.rank == 0
        self._say: Say = say if self._is_first else silent
        self._report = report
        self._preempted = preempted or threading.Event()
        self._sum = HostSum(collective)
        self._look(lease.claim)  # Before anything is read, whose faults only the run's driver may tell.
        self._manifest = Manifest.load(run.manifest_uri)
        self._plan = TrainingPlan.of(run.spec, self._manifest)
        parts = parts_of(self._spec, collective)
        self._rows = parts[0].start, parts[-1].stop
        self._objective = objective_of(run.spec, self._manifest, self._plan, self._sum)
        self._model = self._objective.model
        self._step = TrainingStep(self._model, self._spec, collective, parts=parts)
        self._position = Position(metrics=dict.fromkeys(("loss", *self._objective.metric_names)))
        self._watch = LossWatch(len(self._plan.classes) or self._plan.vocab_size)

    def run(self) -> dict[str, Any]:
        """Trains to the end and returns the run's last figures.

        Raises:
            LeaseLostError: another driver trains the run since; every worker raises it.
            StoppedError: it was told to stop, and is saved.
            PreemptedError: a worker's machine is about to go, and the training is saved.
        """
        self._restore()
        first_step = self._position.step
        if first_step == 0 and not tf.config.list_logical_devices("GPU"):  # Later it cannot change.
            line = precision_line(self._run.spec)
            if line is not None:
                self._say(line)
        with LISTENER.training() as self._told_to_stop, contextlib.ExitStack() as stack:
            if self._is_first:
                stack.enter_context(watching_the_stop_file(self._run.run_uri, self._run.driver, self._told_to_stop))
            return self._run_from(first_step)

    def _run_from(self, first_step: int) -> dict[str, Any]:
        self._lines = ProgressLines(self._say, num_steps=self._plan.num_steps, counted=self._objective.counted)
        self._record = None
        if self._spec.record_steps:
            self._record = StepRecord(
                self._run.run_uri, rank=self._sum.rank, num_workers=self._sum.num_workers, first_step=first_step
            )
        self._kept = ValidationRecords(self._run.run_uri, first_step=first_step) if self._is_first else None
        self._last_saved = time.monotonic()
        self._clock = Clock(flops_per_input=self._plan.flops_per_input)
        try:
            with BackgroundWriter() as self._writer:
                for batch in self._batches(first_step):
                    if self._has_stalled():
                        stale = self._position.stale_validations
                        self._say(f"stopped early: {stale} validations without a better loss")
                        break
                    self._train_on(batch)
        finally:
            if self._kept is not None:
                self._kept.close()
        outcome = self._outcome()
        shares = "  ".join(f"{part} {share:.1%}" for part, share in outcome["time_shares"].items())
        self._say(f"time: {shares}; {outcome['gflops_per_worker']:,.1f} GFLOP/s a worker while it computes")
        return outcome

    def _train_on(self, batch: Batch) -> None:
        """Makes a step, and whatever is due after it: a validation, a checkpoint."""
        started, cpu_started = time.monotonic(), time.process_time()
        if self._plan.lanes.starts_epoch(batch.step):
            self._step.reset_state()
        wish = self._is_first and started - self._last_saved > self._spec.checkpoint_every_seconds
        rate = learning_rate(batch.step, self._spec, num_steps=self._plan.num_steps)
        figures = self._step(
            batch,
            learning_rate=rate,
            want_checkpoint=wish,
            want_stop=self._told_to_stop.is_set(),
            is_preempted=self._preempted.is_set(),
        )
        seconds = time.monotonic() - started
        num_inputs = len(batch.inputs) * inputs_per_row(self._run.spec)
        self._clock.add_step(seconds=seconds, reduce_seconds=figures.reduce_seconds, num_inputs=num_inputs)
        if figures.is_finite:
            self._note(figures, seconds=seconds, cpu_seconds=time.process_time() - cpu_started)
            if self._watch.has_diverged(nats=figures.nats, predictions=figures.characters):
                self._await_writing()
                raise refusal(self._watch.words(), batch.step, run_uri=self._run.run_uri, plan=self._plan)
        else:
            self._note_lost(batch.step, figures.nats)
        if self._record is not None:
            loss = figures.nats / max(figures.characters, 1.0)
            self._record.add(batch.step, rows_hash=batch.rows_hash(first_row=self._rows[0]), loss=loss)
        if self._validates():
            with self._clock.measuring("validation"):
                is_best = self._validate(rate)
            with self._clock.measuring("checkpoint"):
                self._save(is_best=is_best)
                self._writer.wait()  # A sweep that stops a trial at a report still has what it learnt.
            self._report({"step": self._position.step, "epoch": self._position.epoch, **self._position.metrics})
        elif figures.checkpoint_wanted or figures.stop_wanted or figures.preempted or self._checkpoints():
            with self._clock.measuring("checkpoint"):
                self._save(is_best=False)
        if figures.stop_wanted:
            self._await_writing()
            self._say(f"told to stop: saved step {self._position.step:,}")
            raise StoppedError(self._run.run_name, self._position.step)
        if figures.preempted:
            self._await_writing()
            self._say(f"a machine is being taken away: saved at step {self._position.step:,}")
            raise PreemptedError(self._position.step)

    def _batches(self, first_step: int) -> Iterator[Batch]:
        """Yields this worker's rows of every step, each read while the one before it is computed."""
        with self._objective.reading(self._rows) as read, ThreadPoolExecutor(max_workers=1) as pool:
            coming = pool.submit(read, first_step)
            for step in range(first_step, self._plan.num_steps):
                with self._clock.measuring("data"):
                    batch = coming.result()
                coming = pool.submit(read, step + 1)
                yield batch

    def _note(self, figures: Figures, *, seconds: float, cpu_seconds: float) -> None:
        """Adds a step to the position, and says now and then how far that is."""
        self._position.note_step(
            nats=figures.nats,
            characters=figures.characters,
            steps_per_epoch=self._plan.lanes.steps_per_epoch,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
        )
        self._lines.step(
            self._position.step,
            self._position.epoch,
            nats=figures.nats,
            characters=figures.characters,
            seconds=seconds,
        )

    def _note_lost(self, step: int, nats: float) -> None:
        """Leaves out a step that has lost its numbers, or ends the training, as the spec says.

        Raises:
            UserError: it ends.
        """
        lost = f"loss ({nats}) or gradient are no numbers"
        if self._spec.nonfinite == "stop":
            self._await_writing()
            advice = ", or leave such steps out by training.nonfinite=skip"
            raise refusal(lost, step, run_uri=self._run.run_uri, plan=self._plan, advice=advice)
        self._position.note_skipped(steps_per_epoch=self._plan.lanes.steps_per_epoch)
        self._say(f"left out because {lost}: {place_of(step, self._plan)}")

    def _validates(self) -> bool:
        step = self._position.step
        return step % self._spec.validate_every_steps == 0 or step == self._plan.num_steps

    def _checkpoints(self) -> bool:
        every = self._spec.checkpoint_every_steps
        return every is not None and self._position.step % every == 0

    def _has_stalled(self) -> bool:
        patience = self._spec.patience
        return patience is not None and self._position.stale_validations >= patience

    def _validate(self, rate: float) -> bool:
        """Measures the model on `val`, shows samples, and says whether it is the best so far."""
        position, metrics = self._position, self._position.metrics
        validation = self._objective.validate()
        self._look(lease.check)
        loss = math.inf if metrics["loss"] is None else metrics["loss"]  # None where every step was left out.
        words = f"step {position.step:,}  loss {loss:.3f}"
        if validation is not None:
            metrics.update(validation.metrics)
            words += f"  {validation.words}"
        is_best = position.note_validation(loss if validation is None else validation.loss)
        self._say(words + ("  best so far" if is_best else ""))
        samples = self._objective.samples()
        for name, text in samples.items():
            self._say(f"  {name}: {text!r}")
        if self._kept is not None:
            speed = {"learning_rate": rate, f"{self._objective.counted}_per_second": self._lines.per_second}
            self._kept.add(position.figures, metrics | speed, samples)
        return is_best

    def _save(self, *, is_best: bool) -> None:
        """Begins to write a checkpoint; every worker gives the state of its lanes, the first one writes."""
        self._look(lease.check)
        if self._record is not None:
            self._record.save()  # Before the workers meet: no checkpoint without the record of all of them.
        state = self._step.gathered_state(self._sum)
        if self._is_first:
            self._writer.write(
                functools.partial(
                    save_checkpoint,
                    self._run,
                    self._manifest,
                    copy.deepcopy(self._position),
                    classes=self._plan.classes,
                    weights=self._model.get_weights_by_name(),
                    training_arrays=self._step.optimizer_arrays() | state | self._watch.arrays(),
                    is_best=is_best,
                )
            )
        self._last_saved = time.monotonic()

    def _await_writing(self) -> None:
        """Waits until the first worker has written everything: Ray Train ends it when another one ends in an error."""
        self._writer.wait()
        self._sum(np.zeros(1))

    def _look(self, at: Callable[[str, str], None]) -> None:
        """Lets the first worker look whether the run is this driver's, or take it, and every worker know.

        Raises:
            LeaseLostError: it is another one's.
        """
        error = None
        if self._is_first:
            try:
                at(self._run.run_uri, self._run.driver)
            except LeaseLostError as found:
                error = found
        if self._sum(np.array([float(error is not None)]))[0]:
            raise error or LeaseLostError(f"the run {self._run.run_uri} is trained by another command since")

    def _restore(self) -> None:
        """Takes up the newest checkpoint of the run, the same one on every worker, or begins anew."""
        found = restored(self._run, self._manifest, self._sum, say=self._say)
        if found is None:
            if self._run.lineage is not None:
                vocabulary = self._manifest.vocabulary
                take_up(self._run.lineage, self._model, vocabulary, seed=self._spec.seed, say=self._say)
            self._objective.prepare()
            share_weights(self._model, self._sum)
            return
        checkpoint, arrays = found
        self._position = position_of(checkpoint)
        self._model.set_weights_by_name(dict(checkpoint.weights))
        self._step.load_optimizer_arrays(arrays)
        self._step.load_state(arrays)
        self._watch.load_arrays(arrays)
        self._say(f"resumed {self._run.run_name} from step {self._position.step:,}")

    def _outcome(self) -> dict[str, Any]:
        position = self._position
        return {
            "step": position.step,
            "epoch": round(position.epoch, 4),
            **position.metrics,
            "skipped_steps": position.skipped_steps,
            "parameters": self._plan.num_parameters,
            "num_workers": self._sum.num_workers,
            f"{self._objective.counted}_per_second": round(self._lines.per_second, 1),
            "time_shares": self._clock.shares(),
            "gflops_per_worker": self._clock.gflops(),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "weights_sha256": weights_hash(self._model.get_weights_by_name()),
            "stale_validations": position.stale_validations,
            "stopped_early": self._has_stalled() and position.step < self._plan.num_steps,
        }


def train_alone(run: Run, *, say: Say, report: Report) -> dict[str, Any]:
    """Trains a run in this process, as its only worker."""
    return TrainingLoop(run, Alone(), say=say, report=report).run()
