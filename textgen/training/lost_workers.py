"""Turns Ray Train's error about lost workers into a message for the user."""

from __future__ import annotations

import ray.train
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback

from textgen.errors import UserError
from textgen.model.checkpoint import latest_checkpoint
from textgen.runs.position import Run


def lost_workers_error(error: ray.train.WorkerGroupError, run: Run) -> UserError | None:
    """Returns the user error for workers that were lost more often than the spec allows; None for other failures."""
    failures = list(error.worker_failures.values())
    raised = [failure._base_exc for failure in failures if isinstance(failure, UserExceptionWithTraceback)]
    lost = [failure for failure in failures if not isinstance(failure, UserExceptionWithTraceback)]
    # When a worker is lost, the others fail in their common operation.
    if not lost or any(isinstance(one, UserError) for one in raised):
        return None
    saved = latest_checkpoint(run.run_uri)
    state = "has no checkpoint yet" if saved is None else f"is saved at step {saved.step:,}"
    why = str(lost[0]).strip().splitlines()[0].rstrip(".")
    return UserError(
        f"workers of {run.run_uri} were lost more often than training.max_failures allows "
        f"({run.spec.training.max_failures}); the last error was: {why}. The run {state}, and the same command resumes "
        "it; if memory was short, use fewer workers or a smaller training.global_batch_size"
    )
