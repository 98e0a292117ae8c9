"""A worker's view of all workers of a run: sums over all of them, and the lease under which they train."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from textgen.runs import lease
from textgen.runs.lease import LeaseLostError
from textgen.runs.position import Run
from textgen.training.collective import Collective, HostSum


class Team:
    """The workers that train a run for one driver, which holds the run's lease."""

    def __init__(self, run: Run, collective: Collective) -> None:
        """Rank 0 claims the lease for its driver; every worker learns the result.

        Raises:
            LeaseLostError: another driver has claimed it since; every worker raises it.
        """
        self.collective = collective
        self.sum = HostSum(collective)
        self.rank = collective.rank
        self.num_workers = collective.num_workers
        self.is_first = collective.rank == 0
        self._run = run
        self._agree(lease.claim)

    def check_lease(self) -> None:
        """Rank 0 checks that its driver still holds the lease; every worker learns the result.

        Raises:
            LeaseLostError: another driver holds it; every worker raises it.
        """
        self._agree(lease.check)

    def meet(self) -> None:
        """Waits until every worker has called this."""
        self.sum(np.zeros(1))

    def _agree(self, act: Callable[[str, str], None]) -> None:
        error = None
        if self.is_first:
            try:
                act(self._run.run_uri, self._run.driver)
            except LeaseLostError as lost:
                error = lost
        if self.sum(np.array([float(error is not None)]))[0]:
            raise error or LeaseLostError(f"another command trains the run {self._run.run_uri} now")
