"""Progress on stderr, repeated when a job has printed nothing for a while."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from textgen.progress import Say

SILENCE_SECONDS = 10.0


def say(message: str) -> None:
    """Prints a line of progress on stderr."""
    print(message, file=sys.stderr, flush=True)


@contextlib.contextmanager
def never_silent(doing: str, *, say: Say = say, seconds: float = SILENCE_SECONDS) -> Iterator[Say]:
    """Yields a function that prints progress, and repeats the last line after every `seconds` of silence.

    Args:
        doing: the line to repeat until the first one is printed.
        say: receives the lines.
        seconds: seconds of silence before a line is repeated.
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
    """Returns a function that takes the number of finished items and reports it at most once per `seconds`.

    Lines read `<done> 3 of 10`.
    """
    said = time.monotonic()

    def progress(number: int) -> None:
        nonlocal said
        if time.monotonic() - said >= seconds:
            said = time.monotonic()
            say(f"{done} {number:,} of {total:,}")

    return progress
