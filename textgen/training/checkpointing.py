"""Decides when a training writes a checkpoint, and gathers the state of all workers for it."""

from __future__ import annotations

import copy
import functools
import time

from textgen.runs.plan import TrainingPlan
from textgen.runs.position import Run, save_checkpoint
from textgen.runs.saving import BackgroundWriter
from textgen.training.journal import Journal
from textgen.training.learner import Learner
from textgen.training.team import Team
from textgen.windows.manifest import Manifest


class Checkpointing:
    """Saves a learner: every worker contributes the state of its lanes, and the first one writes in the background."""

    def __init__(
        self,
        run: Run,
        manifest: Manifest,
        plan: TrainingPlan,
        team: Team,
        *,
        learner: Learner,
        journal: Journal,
        writer: BackgroundWriter,
    ) -> None:
        self._run = run
        self._spec = run.spec.training
        self._manifest = manifest
        self._plan = plan
        self._team = team
        self._learner = learner
        self._journal = journal
        self._writer = writer
        self._last_saved = time.monotonic()

    def is_due_by_time(self) -> bool:
        """Returns whether the first worker wants a checkpoint now; False on the others."""
        waited = time.monotonic() - self._last_saved
        return self._team.is_first and waited > self._spec.checkpoint_every_seconds

    def is_due_by_step(self) -> bool:
        """Returns whether the spec requires a checkpoint at this step; the same on every worker."""
        every = self._spec.checkpoint_every_steps
        return every is not None and self._learner.position.step % every == 0

    def save(self, *, is_best: bool) -> None:
        """Starts to write a checkpoint; every worker must call it.

        Raises:
            LeaseLostError: another driver trains the run now.
        """
        self._team.check_lease()
        self._journal.save_steps()  # Before the workers meet: no checkpoint without the record of all of them.
        lanes = self._learner.step.gathered_state(self._team.sum)
        if self._team.is_first:
            self._writer.write(
                functools.partial(
                    save_checkpoint,
                    self._run,
                    self._manifest,
                    copy.deepcopy(self._learner.position),
                    classes=self._plan.classes,
                    weights=self._learner.model.get_weights_by_name(),
                    training_arrays=self._learner.training_arrays(lanes),
                    is_best=is_best,
                )
            )
        self._last_saved = time.monotonic()

    def wait(self) -> None:
        """Waits until this worker has written everything."""
        self._writer.wait()

    def settle(self) -> None:
        """Waits on every worker until the first has written everything, since Ray Train ends it when another raises."""
        self._writer.wait()
        self._team.meet()
