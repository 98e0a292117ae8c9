"""Told to end by Ctrl-C, or by SIGTERM as a machine that is taken away is, a training first saves where it stands.

Who receives the signal need not be who trains: a process that trains by itself, or the driver of Ray's workers (as at
`ray job stop`), which leaves a file in the run's folder for the first worker to find. A worker's own process does not
hear SIGTERM, as Ray keeps its main thread outside of Python: it asks Ray (`runs.preemption`). The SIGINT that a
terminal sends to all processes is blocked in those that Ray starts.
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
"""File of a run's folder by which a driver asks its first worker to save and to end; it holds the driver's name."""
LOOK_SECONDS = 0.5
S3_LOOK_SECONDS = 2.0
"""Between looks into a bucket, each of which is a request that is paid for."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(Exception):
    """A training has ended before its end, because it was told to."""

    def __init__(self, run_name: str, step: int | None, *, is_saved: bool = True) -> None:
        """Takes what became of the run.

        Args:
            run_name: it.
            step: that of its last checkpoint; None where it has none.
            is_saved: whether that is where the training stood; otherwise it ended at once, and has lost what it learnt
                since, if it learnt.
        """
        super().__init__(run_name, step)
        self.run_name = run_name
        self.step = step
        self.is_saved = is_saved
        self.signal = LISTENER.heard or signal.SIGTERM
        """Which signal told it."""

    def __str__(self) -> str:
        """Returns what is saved, and what to do."""
        if self.step is None:
            return f"{self.run_name}: nothing was saved yet; the same command begins anew"
        if self.is_saved:
            return f"{self.run_name}: saved step {self.step:,}; the same command resumes"
        return f"{self.run_name}: saved nothing after step {self.step:,}; the same command resumes from there"


class Listener:
    """Whether this process was sent SIGINT (Ctrl-C) or SIGTERM while it trained; at other times, and when one comes
    again, the signal does what it did before."""

    def __init__(self) -> None:
        self.heard: signal.Signals | None = None
        """The signal that told the last training to end."""
        self._heard = threading.Event()
        self._num_trainings = 0
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Takes the signals over; does nothing outside of a process's main thread, where Python allows no more."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if handler not in (self._hear, signal.SIG_IGN):  # A shell lets what it runs behind it ignore Ctrl-C.
                self._before[number] = signal.signal(number, self._hear)

    @contextlib.contextmanager
    def training(self) -> Iterator[threading.Event]:
        """Gives the event that the signal sets, for as long as a training lasts."""
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
"""This process's: signals belong to processes."""


def install() -> None:
    """Lets this process hear SIGINT and SIGTERM while it trains; to be called in its main thread."""
    LISTENER.install()


@contextlib.contextmanager
def watching_the_stop_file(run_uri: str, driver: str, told: threading.Event) -> Iterator[None]:
    """Sets the event when this driver of the run asks for an end, for as long as the context lasts."""
    seconds = S3_LOOK_SECONDS if storage.is_s3(run_uri) else None
    with acting_once(lambda: _asks_for_an_end(run_uri, driver), told.set, seconds=seconds):
        yield


@contextlib.contextmanager
def passing_on(run_uri: str, driver: str, *, say: Say) -> Iterator[None]:
    """Passes a signal that this process, a driver of the run, receives on to its own first worker.

    While it has none that trains, as it waits for machines, the signal does what it did before.
    """
    install()
    place = storage.join(run_uri, STOP_NAME)

    def pass_on() -> None:
        if lease.has_held(run_uri, driver):
            storage.write_bytes(place, driver.encode())
            if LISTENER.heard == signal.SIGINT:
                say("stopping: saving after this step; Ctrl-C again ends at once, and loses what was not saved")
        else:
            os.kill(os.getpid(), LISTENER.heard or signal.SIGTERM)  # Heard for the second time.

    try:
        with LISTENER.training() as told, acting_once(told.is_set, pass_on):
            yield
    finally:
        with contextlib.suppress(UnavailableError):  # What stays says nothing to another driver.
            if _asks_for_an_end(run_uri, driver):
                storage.delete(place)


def _asks_for_an_end(run_uri: str, driver: str) -> bool:
    return storage.read_if_exists(storage.join(run_uri, STOP_NAME)) == driver.encode()


@contextlib.contextmanager
def acting_once(
    condition: Callable[[], bool], act: Callable[[], None], *, seconds: float | None = None
) -> Iterator[None]:
    """Acts when a condition comes to hold, beside the context and no longer than it lasts; looks now and then.

    Args:
        condition: is looked at every `seconds`.
        act: is called once.
        seconds: None takes LOOK_SECONDS.
    """
    seconds = LOOK_SECONDS if seconds is None else seconds
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(seconds):
            with contextlib.suppress(UnavailableError):  # Until the next look.
                if condition():
                    act()
                    return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
