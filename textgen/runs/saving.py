"""Writes checkpoints in the background, so that a slow disk or S3 does not delay the steps."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class BackgroundWriter:
    """Runs one write at a time, in order; its context ends when the last one is complete."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        if error is None:  # Otherwise that error is the one to report.
            self.wait()

    def write(self, write: Callable[[], None]) -> None:
        """Starts a write after waiting for the previous one, so that at most one is held in memory.

        Raises:
            Exception: the error of the previous write.
        """
        self.wait()
        self._writing = self._pool.submit(write)

    def wait(self) -> None:
        """Waits until everything is written.

        Raises:
            Exception: the error of the last write.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
