"""One thread that steps an engine while requests arrive from others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from textgen.generation.stream import Completion, Request

_logger = logging.getLogger(__name__)


class BusyError(Exception):
    """More requests are unfinished than may wait."""


class SteppedEngine(Protocol):
    """What the thread needs of `generation.engine.Engine`."""

    @property
    def num_unfinished(self) -> int:
        """Requests that wait or are being completed."""

    def submit(self, request: Request) -> Future[Completion]:
        """Queues a request."""

    def run_once(self) -> bool:
        """Steps all requests; False where there are none."""

    def fail_all(self, error: Exception) -> None:
        """Ends every unfinished request with an error."""


class EngineThread:
    """Steps an engine whenever it has requests; those that arrive meanwhile join at its next call."""

    def __init__(self, engine: SteppedEngine, *, max_unfinished: int = 512) -> None:
        self._engine = engine
        self._max_unfinished = max_unfinished
        self._arrived = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._step, name="engine", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Says whether requests are still being completed."""
        return self._thread.is_alive()

    def submit(self, requests: Sequence[Request]) -> list[Future[Completion]]:
        """Queues all of the requests or none; the futures may be cancelled.

        Raises:
            BusyError: too many requests are unfinished.
            UserError: a prompt cannot be read.
        """
        with self._arrived:
            if self._stopping or self._engine.num_unfinished + len(requests) > self._max_unfinished:
                raise BusyError(f"{self._engine.num_unfinished} completions are unfinished")
            futures: list[Future[Completion]] = []
            try:
                for request in requests:
                    futures.append(self._engine.submit(request))
            except Exception:
                for future in futures:
                    future.cancel()
                self._arrived.notify()  # The engine lets go of what is cancelled.
                raise
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
                idle = not self._engine.run_once()
            except Exception as error:  # One failed call must not leave its requests, and all later ones, waiting.
                _logger.exception("a call of the engine failed")
                self._fail_all(error)
                continue
            with self._arrived:
                if idle and not self._stopping and self._engine.num_unfinished == 0:
                    self._arrived.wait()
        self._fail_all(RuntimeError("the server is shutting down"))

    def _fail_all(self, error: Exception) -> None:
        with self._arrived:  # A request that is just being queued would be lost.
            self._engine.fail_all(error)
