"""Saves a training before it ends at Ctrl-C, or at SIGTERM, for example when its machine is preempted.

The signal is received by a process that trains by itself, or by the driver of Ray's workers (as at `ray job stop`),
which leaves a file in the run's folder for the first worker to find. A worker process does not receive SIGTERM, because
Ray keeps its main thread outside of Python; it asks Ray about preemption instead (`runs.preemption`). The SIGINT that
a terminal sends to all processes is blocked in those that Ray starts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from textgen import storage
from textgen.errors import UnavailableError
from textgen.progress import Say
from textgen.runs import lease

STOP_NAME = "STOP"
"""File of a run's folder by which a driver asks its first worker to save and end; it holds the driver's id."""
POLL_SECONDS = 0.5
S3_POLL_SECONDS = 2.0
"""Between polls of a bucket, each of which is a paid request."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(Exception):
    """A training was stopped before its end."""

    def __init__(self, run_name: str, step: int | None, *, is_saved: bool = True) -> None:
        """Describes the state of the run.

        Args:
            run_name: the run.
            step: the step of its last checkpoint; None if it has none.
            is_saved: whether that checkpoint holds everything learnt; otherwise the training ended at once and lost
                its later steps, if there were any.
        """
        super().__init__(run_name, step)
        self.run_name = run_name
        self.step = step
        self.is_saved = is_saved
        self.signal = LISTENER.heard or signal.SIGTERM
        """The signal that stopped it."""

    def __str__(self) -> str:
        """Returns what was saved, and how to continue."""
        if self.step is None:
            return f"{self.run_name}: nothing was saved yet; the same command starts over"
        if self.is_saved:
            return f"{self.run_name}: saved step {self.step:,}; the same command resumes"
        return f"{self.run_name}: saved nothing after step {self.step:,}; the same command resumes from there"


class Listener:
    """Listens for SIGINT (Ctrl-C) and SIGTERM while this process trains. At other times, and for a second signal, the
    previous handler acts."""

    def __init__(self) -> None:
        self.heard: signal.Signals | None = None
        """The signal that stopped the last training."""
        self._heard = threading.Event()
        self._num_trainings = 0
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Installs the handlers; does nothing outside of the main thread, where Python does not allow it."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if handler not in (self._hear, signal.SIG_IGN):  # Shells make background jobs ignore Ctrl-C.
                self._before[number] = signal.signal(number, self._hear)

    @contextlib.contextmanager
    def training(self) -> Iterator[threading.Event]:
        """Yields the event that a signal sets, for the duration of a training."""
        self._num_trainings += 1
        self._heard.clear()
        self.heard = None
        try:
            yield self._heard
        finally:
            self._num_trainings -= 1

    def _hear(self, number: int, frame: FrameType | None) -> None:
        before = self._before[number]
        if self._num_trainings and not self._heard.is_set():
            self.heard = signal.Signals(number)
            self._heard.set()
        elif callable(before):
            before(number, frame)
        else:
            signal.signal(number, before)
            signal.raise_signal(number)


LISTENER = Listener()
"""The listener of this process, because signal handlers belong to the process."""


def install() -> None:
    """Makes this process listen for SIGINT and SIGTERM while it trains; must be called in its main thread."""
    LISTENER.install()


@contextlib.contextmanager
def watching_stop_file(run_uri: str, driver: str, stop: threading.Event) -> Iterator[None]:
    """Sets the event when this driver of the run requests a stop; watches until the context ends."""
    seconds = S3_POLL_SECONDS if storage.is_s3(run_uri) else None
    with acting_once(lambda: _is_stop_requested(run_uri, driver), stop.set, seconds=seconds):
        yield


@contextlib.contextmanager
def forwarding_signals(run_uri: str, driver: str, *, say: Say) -> Iterator[None]:
    """Forwards a signal that this process, a driver of the run, receives to its own first worker.

    While no worker trains, for example because the driver waits for machines, the previous handler acts.
    """
    install()
    place = storage.join(run_uri, STOP_NAME)

    def forward() -> None:
        if lease.has_held(run_uri, driver):
            storage.write_bytes(place, driver.encode())
            if LISTENER.heard == signal.SIGINT:
                say("stopping: saving after this step; Ctrl-C again ends at once and loses unsaved steps")
        else:
            os.kill(os.getpid(), LISTENER.heard or signal.SIGTERM)  # A second signal, for the previous handler.

    try:
        with LISTENER.training() as stop, acting_once(stop.is_set, forward):
            yield
    finally:
        with contextlib.suppress(UnavailableError):  # A file that remains means nothing to other drivers.
            if _is_stop_requested(run_uri, driver):
                storage.delete(place)


def _is_stop_requested(run_uri: str, driver: str) -> bool:
    return storage.read_if_exists(storage.join(run_uri, STOP_NAME)) == driver.encode()


@contextlib.contextmanager
def acting_once(
    condition: Callable[[], bool], act: Callable[[], None], *, seconds: float | None = None
) -> Iterator[None]:
    """Calls `act` once when a condition holds, from a thread that polls until the context ends.

    Args:
        condition: is checked every `seconds`.
        act: is called at most once.
        seconds: None takes POLL_SECONDS.
    """
    seconds = POLL_SECONDS if seconds is None else seconds
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(seconds):
            with contextlib.suppress(UnavailableError):  # Retried at the next poll.
                if condition():
                    act()
                    return

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
