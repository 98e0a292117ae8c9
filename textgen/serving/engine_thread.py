"""One thread that steps an engine while requests arrive from others."""

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
"""Calls of the engine that fail one after another, after which it is taken for broken."""
HANG_SECONDS = 10.0
"""A call that takes longer hangs, unless the engine is known to be as slow as that."""
SLOW_CALLS = 10
"""A call that takes so many times as long as the longest finished one hangs, where that is more."""


class BusyError(Exception):
    """More requests are unfinished than may wait."""


class SteppedEngine(Protocol):
    """What the thread needs of `generation.engine.Engine`."""

    @property
    def num_unfinished(self) -> int:
        """Requests that wait or are being completed."""

    def prepare(self, requests: Sequence[Request]) -> Sequence[Any]:
        """Reads the prompts of requests."""

    def enqueue(self, stream: Any) -> Future[Completion]:
        """Queues a prepared request."""

    def run_once(self) -> bool:
        """Steps all requests; False where there are none."""

    def fail_all(self, error: Exception) -> None:
        """Ends every unfinished request with an error."""


class EngineThread:
    """Steps an engine whenever it has requests; those that arrive meanwhile join at its next call."""

    def __init__(
        self, engine: SteppedEngine, *, max_unfinished: int = 512, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._max_unfinished = max_unfinished
        self._clock = clock
        self._arrived = threading.Condition()
        self._stopping = False
        self._called_at: float | None = None
        """When the call began that is being made; None between calls."""
        self._longest_call = 0.0
        """Seconds of the longest call that succeeded."""
        self._num_failed = 0
        """Calls that failed since the last one that succeeded."""
        self._thread = threading.Thread(target=self._step, name="engine", daemon=True)
        self._thread.start()

    @property
    def fault(self) -> str | None:
        """What keeps requests from being completed; None where nothing does."""
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
        """Reads the prompts of requests: work that grows with them, to be done outside of an event loop.

        Raises:
            RefusedFieldError: a field of one cannot be read by the model.
        """
        return self._engine.prepare(requests)

    def submit(self, prepared: Sequence[Any]) -> list[Future[Completion]]:
        """Queues all of some prepared requests or none; the futures may be cancelled.

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
            except Exception as error:  # One failed call must not leave its requests, and all later ones, waiting.
                _logger.exception("a call of the engine failed")
                self._num_failed += 1
                self._fail_all(error)
                continue
            with self._arrived:
                if idle and not self._stopping and self._engine.num_unfinished == 0:
                    self._arrived.wait()
        self._fail_all(RuntimeError("the server is shutting down"))

    def _call(self) -> bool:
        """Lets the engine make a call, and returns whether there was anything to do."""
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
        with self._arrived:  # A request that is just being queued would be lost.
            self._engine.fail_all(error)
