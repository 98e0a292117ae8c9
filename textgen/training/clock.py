"""Measures where a training worker spends its time, and how fast it computes."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator


class Clock:
    """Adds up the time of each part of a training, from the clock's creation."""

    def __init__(self, *, flops_per_input: int) -> None:
        self._started = time.monotonic()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._flops_per_input = flops_per_input
        self._num_inputs = 0

    @contextlib.contextmanager
    def measuring(self, part: str) -> Iterator[None]:
        """Adds the duration of the context to a part."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._seconds[part] += time.monotonic() - started

    def add_step(self, *, seconds: float, reduce_seconds: float, num_inputs: int) -> None:
        """Adds a step to `compute` and `reduce`; the first one builds the graph, and counts as `start`."""
        if "start" not in self._seconds:
            self._seconds["start"] = seconds
            return
        self._seconds["compute"] += seconds - reduce_seconds
        self._seconds["reduce"] += reduce_seconds
        self._num_inputs += num_inputs

    def shares(self) -> dict[str, float]:
        """Returns each part's share of the time since the clock was created; `other` is the rest."""
        total = time.monotonic() - self._started
        shares = {part: seconds / total for part, seconds in self._seconds.items()}
        return {part: round(share, 4) for part, share in (shares | {"other": 1 - sum(shares.values())}).items()}

    def gflops(self) -> float:
        """Returns the billions of operations per second while the worker computes."""
        operations = self._flops_per_input * self._num_inputs
        return round(operations / 1e9 / max(self._seconds["compute"], 1e-9), 2)
