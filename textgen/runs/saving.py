"""Writes checkpoints beside the steps, so that a slow disk or S3 does not stop them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class BackgroundWriter:
    """Writes one thing at a time, in the order they are given; its context ends when the last one is written."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        if error is None:  # Otherwise it is that error which is to be told.
            self.wait()

    def write(self, content: Callable[[], None]) -> None:
        """Begins to write; waits where the one before is not written yet, so that at most one is held in memory.

        Raises:
            Exception: what the one before raised.
        """
        self.wait()
        self._writing = self._pool.submit(content)

    def wait(self) -> None:
        """Returns when everything is written.

        Raises:
            Exception: what the last one raised.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
