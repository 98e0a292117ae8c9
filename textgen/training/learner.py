"""The state that one worker trains: model, optimizer, the recurrent state of its lanes, and their position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from textgen.progress import Say
from textgen.runs.plan import TrainingPlan
from textgen.runs.position import Position, Run
from textgen.training.divergence import LossWatch
from textgen.training.objective import objective_of
from textgen.training.restoring import load_first_weights, position_of, restored, share_weights
from textgen.training.step import TrainingStep, parts_of
from textgen.training.team import Team
from textgen.windows.manifest import Manifest

Array = np.ndarray[Any, Any]


class Learner:
    """Everything that a training step changes, and that a checkpoint stores."""

    def __init__(self, run: Run, manifest: Manifest, plan: TrainingPlan, team: Team, *, say: Say) -> None:
        """Resumes from the run's newest checkpoint, the same one on every worker, or starts at step 0.

        Raises:
            UserError: every checkpoint is damaged, or belongs to other windows.
        """
        spec = run.spec.training
        parts = parts_of(spec, team.collective)
        self.first_row, self.last_row = parts[0].start, parts[-1].stop
        """The rows [first_row, last_row) of the global batch that this worker computes."""
        self.objective = objective_of(run.spec, manifest, plan, team.sum)
        self.model = self.objective.model
        self.step = TrainingStep(self.model, spec, team.collective, parts=parts)
        self.watch = LossWatch(len(plan.classes) or plan.vocab_size)
        found = restored(run, manifest, team.sum, say=say)
        if found is None:
            self.position = Position(metrics=dict.fromkeys(("loss", *self.objective.metric_names)))
            if run.lineage is not None:
                load_first_weights(run.lineage, self.model, manifest.vocabulary, seed=spec.seed, say=say)
            self.objective.prepare()
            share_weights(self.model, team.sum)
            return
        checkpoint, arrays = found
        self.position = position_of(checkpoint)
        self.model.set_weights_by_name(dict(checkpoint.weights))
        self.step.load_optimizer_arrays(arrays)
        self.step.load_state(arrays)
        self.watch.load_arrays(arrays)
        say(f"resumed {run.run_name} from step {self.position.step:,}")

    def training_arrays(self, lanes: Mapping[str, Array]) -> dict[str, Array]:
        """Returns what resuming needs besides the weights; `lanes` is the state of all lanes (`gathered_state`)."""
        return self.step.optimizer_arrays() | dict(lanes) | self.watch.arrays()
