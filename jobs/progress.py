"""Progress on stderr, and a word where a job has been silent for long."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from textgen.progress import Say

SILENCE_SECONDS = 10.0


def say(message: str) -> None:
    """Writes a line of progress on stderr."""
    print(message, file=sys.stderr, flush=True)


@contextlib.contextmanager
def never_silent(doing: str, *, say: Say = say, seconds: float = SILENCE_SECONDS) -> Iterator[Say]:
    """Yields what receives lines of progress, and repeats the last one whenever so long nothing was said.

    Args:
        doing: what to repeat before the first line.
        say: receives the lines.
        seconds: of silence.
    """
    last = doing
    began = time.monotonic()
    spoke, ends = threading.Event(), threading.Event()

    def heard(message: str) -> None:
        nonlocal last, began
        last, began = message, time.monotonic()
        spoke.set()
        say(message)

    def repeat() -> None:
        while not ends.is_set():
            spoke.clear()
            if not spoke.wait(seconds) and not ends.is_set():
                say(f"{last} ... {time.monotonic() - began:.0f} s so far")

    watch = threading.Thread(target=repeat, name="never-silent", daemon=True)
    watch.start()
    try:
        yield heard
    finally:
        ends.set()
        spoke.set()
        watch.join()


def counted(done: str, total: int, *, say: Say, seconds: float = SILENCE_SECONDS) -> Callable[[int], None]:
    """Returns what receives how many are done, and says so every so many seconds: `done` begins the line."""
    said = time.monotonic()

    def progress(number: int) -> None:
        nonlocal said
        if time.monotonic() - said >= seconds:
            said = time.monotonic()
            say(f"{done} {number:,} of {total:,}")

    return progress
