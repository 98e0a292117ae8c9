"""Detects that a worker's machine is being preempted, such as a spot instance; the training resumes elsewhere.

Ray learns of a preemption from `ray drain-node`, from Kubernetes, or from SIGTERM to `ray start --block`. Each worker
watches its own machine. All workers save after the same step and end, and Ray Train restarts them where there is room,
which is never on such a machine. Ray Train's own watcher would require a meeting of all workers at every poll.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import ray

from textgen.runs.stopping import acting_once


class PreemptedError(RuntimeError):
    """A worker's machine is about to be preempted; the training is saved at `step`, and must be restarted."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step

    def __str__(self) -> str:
        """Returns the reason and the saved step."""
        return f"a machine is being preempted; saved at step {self.step:,}"


@contextlib.contextmanager
def watching_for_preemption() -> Iterator[threading.Event]:
    """Yields an event that is set when this worker's machine is about to be preempted."""
    preempted = threading.Event()
    own_node = ray.get_runtime_context().get_node_id()
    with acting_once(lambda: own_node in _draining_nodes(), preempted.set):
        yield preempted


def _draining_nodes() -> dict[str, int]:
    """Returns the nodes that Ray drains; none if Ray does not answer, until the next poll."""
    try:
        nodes: dict[str, int] = ray._private.state.state.get_draining_nodes()  # The call of Ray Train's watcher.
    except Exception:
        return {}
    return nodes
