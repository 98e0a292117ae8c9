"""A machine that is taken away, as spot instances are: its training saves and goes on elsewhere.

Ray knows of it where it is told, as by `ray drain-node`, by Kubernetes, or by SIGTERM to `ray start --block`. Each
worker looks after its own machine; all save after the same step and end, and Ray Train starts them where there is room,
which is never on such a machine. Ray Train's own watcher would take a meeting of all workers at every look.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import ray

from textgen.runs.stopping import acting_once


class PreemptedError(RuntimeError):
    """A worker's machine is about to go; the training is saved at `step`, and is to be started again."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step

    def __str__(self) -> str:
        """Returns what happened."""
        return f"a machine is being taken away; saved at step {self.step:,}"


@contextlib.contextmanager
def watching_for_preemption() -> Iterator[threading.Event]:
    """Gives the event that this worker's machine is about to go, for as long as the context lasts."""
    leaves = threading.Event()
    own = ray.get_runtime_context().get_node_id()
    with acting_once(lambda: own in _draining_nodes(), leaves.set):
        yield leaves


def _draining_nodes() -> dict[str, int]:
    """Returns the nodes that Ray empties; none where it does not answer, until the next look."""
    try:
        found: dict[str, int] = ray._private.state.state.get_draining_nodes()  # As Ray Train's watcher asks.
    except Exception:
        return {}
    return found
