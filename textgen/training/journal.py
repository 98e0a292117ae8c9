"""A worker's records of its training: lines of progress, shares of time, every step and every validation."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from textgen.progress import Say
from textgen.runs.plan import TrainingPlan
from textgen.runs.position import Position, Run
from textgen.runs.recording import ProgressLines, StepRecord, ValidationRecords
from textgen.training.clock import Clock
from textgen.training.step import Figures
from textgen.training.team import Team
from textgen.windows.batches import Batch


class Journal:
    """The records of one worker from one start of a run; only the first worker logs lines and records validations."""

    def __init__(self, run: Run, plan: TrainingPlan, team: Team, *, counted: str, first_step: int, say: Say) -> None:
        """Opens the records.

        Args:
            run: the run that is trained.
            plan: the number of steps, and the operations of an input.
            team: determines whether this worker records validations, and the file of its steps.
            counted: the unit of speeds: `chars` or `documents`.
            first_step: where this start begins; records that an earlier start made of later steps are dropped.
            say: receives lines of progress.
        """
        self.say = say
        self.clock = Clock(flops_per_input=plan.flops_per_input)
        self._counted = counted
        self._lines = ProgressLines(say, num_steps=plan.num_steps, counted=counted)
        self._steps = (
            StepRecord(run.run_uri, rank=team.rank, num_workers=team.num_workers, first_step=first_step)
            if run.spec.training.record_steps
            else None
        )
        self._validations = ValidationRecords(run.run_uri, first_step=first_step) if team.is_first else None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._validations is not None:
            self._validations.close()

    def add_step(self, position: Position, figures: Figures, *, seconds: float) -> None:
        """Adds a completed step to the speed, and reports progress every few seconds."""
        self._lines.step(
            position.step, position.epoch, nats=figures.nats, characters=figures.characters, seconds=seconds
        )

    def record_step(self, batch: Batch, figures: Figures, *, first_row: int) -> None:
        """Adds a step to the step record, if the run keeps one; `first_row` places the batch in the global one."""
        if self._steps is not None:
            loss = figures.nats / max(figures.characters, 1.0)
            self._steps.add(batch.step, rows_hash=batch.rows_hash(first_row=first_row), loss=loss)

    def save_steps(self) -> None:
        """Writes the step record."""
        if self._steps is not None:
            self._steps.save()

    def add_validation(self, position: Position, samples: Mapping[str, str], *, learning_rate: float) -> None:
        """Adds a validation to the history and to TensorBoard, with the current speed and learning rate."""
        if self._validations is not None:
            scalars = position.metrics | {"learning_rate": learning_rate} | self.speed()
            self._validations.add(position.figures, scalars, samples)

    def speed(self) -> dict[str, float]:
        """Returns the predictions per second of steps, under the name of their unit."""
        return {f"{self._counted}_per_second": self._lines.per_second}

    def summary(self) -> dict[str, Any]:
        """Returns speed, shares of time and peak memory of this start, and logs where the time went."""
        shares, gflops = self.clock.shares(), self.clock.gflops()
        listed = "  ".join(f"{part} {share:.1%}" for part, share in shares.items())
        self.say(f"time: {listed}; {gflops:,.1f} GFLOP/s per worker while it computes")
        return {
            **{name: round(value, 1) for name, value in self.speed().items()},
            "time_shares": shares,
            "gflops_per_worker": gflops,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
