"""A thread that steps an engine while other threads submit requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from textgen.generation.stream import Completion, Request

_logger = logging.getLogger(__name__)

FAILED_CALLS = 3
"""Number of consecutive failed calls after which the engine counts as broken."""
HANG_SECONDS = 10.0
"""A call that takes longer counts as hanging, unless the engine has been that slow before."""
SLOW_CALLS = 10
"""A call counts as hanging after this many times the longest successful call, if that is more."""


class BusyError(Exception):
    """The queue of unfinished requests is full."""


class SteppedEngine(Protocol):
    """The interface that the thread needs from `generation.engine.Engine`."""

    @property
    def num_unfinished(self) -> int:
        """Number of requests that are queued or running."""

    def prepare(self, requests: Sequence[Request]) -> Sequence[Any]:
        """Reads the prompts of requests."""

    def enqueue(self, stream: Any) -> Future[Completion]:
        """Queues a prepared request."""

    def run_once(self) -> bool:
        """Steps all requests; returns False if there are none."""

    def fail_all(self, error: Exception) -> None:
        """Ends every unfinished request with `error`."""


class EngineThread:
    """Steps an engine while it has requests; requests that arrive during a call join at the next one."""

    def __init__(
        self, engine: SteppedEngine, *, max_unfinished: int = 512, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._max_unfinished = max_unfinished
        self._clock = clock
        self._arrived = threading.Condition()
        self._stopping = False
        self._called_at: float | None = None
        """Start of the current call; None between calls."""
        self._longest_call = 0.0
        """Duration of the longest successful call, in seconds."""
        self._num_failed = 0
        """Number of failed calls since the last successful one."""
        self._thread = threading.Thread(target=self._step, name="engine", daemon=True)
        self._thread.start()

    @property
    def fault(self) -> str | None:
        """Why requests cannot be completed; None if they can."""
        if not self._thread.is_alive():
            return "the engine has stopped"
        if self._num_failed >= FAILED_CALLS:
            return f"the last {self._num_failed} calls of the engine failed"
        called_at = self._called_at
        seconds = self._clock() - called_at if called_at is not None else 0.0
        if seconds > max(HANG_SECONDS, SLOW_CALLS * self._longest_call):
            return f"a call of the engine has taken {seconds:.0f} s"
        return None

    def prepare(self, requests: Sequence[Request]) -> Sequence[Any]:
        """Reads the prompts of requests. Takes time in proportion to their length; do not call it on an event loop.

        Raises:
            RefusedFieldError: the model cannot read a field of a request.
        """
        return self._engine.prepare(requests)

    def submit(self, prepared: Sequence[Any]) -> list[Future[Completion]]:
        """Queues all prepared requests, or none of them; the futures may be cancelled.

        Raises:
            BusyError: too many requests are unfinished.
        """
        with self._arrived:
            if self._stopping or self._engine.num_unfinished + len(prepared) > self._max_unfinished:
                raise BusyError(f"{self._engine.num_unfinished} completions are unfinished")
            futures = [self._engine.enqueue(stream) for stream in prepared]
            self._arrived.notify()
            return futures

    def stop(self) -> None:
        """Ends the thread after its current call; unfinished requests end with an error."""
        with self._arrived:
            self._stopping = True
            self._arrived.notify()
        self._thread.join()

    def _step(self) -> None:
        while not self._stopping:
            try:
                idle = not self._call()
            except Exception as error:  # A failed call must not leave its requests, or later ones, waiting.
                _logger.exception("a call of the engine failed")
                self._num_failed += 1
                self._fail_all(error)
                continue
            with self._arrived:
                if idle and not self._stopping and self._engine.num_unfinished == 0:
                    self._arrived.wait()
        self._fail_all(RuntimeError("the server is shutting down"))

    def _call(self) -> bool:
        """Makes one call of the engine and returns whether it had requests."""
        self._called_at = self._clock()
        try:
            worked = self._engine.run_once()
            if worked:
                self._longest_call = max(self._longest_call, self._clock() - self._called_at)
                self._num_failed = 0
            return worked
        finally:
            self._called_at = None

    def _fail_all(self, error: Exception) -> None:
        with self._arrived:  # Under the lock, or a request queued at the same time would be lost.
            self._engine.fail_all(error)
