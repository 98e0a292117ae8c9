"""What a training records for people: lines of progress, TensorBoard, and the record of its steps."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from textgen import storage
from textgen.errors import UnavailableError
from textgen.progress import Say

PROGRESS_SECONDS = 10.0
MAX_PROGRESS_SECONDS = 60.0
LOG_NAME = "log.txt"
HISTORY_NAME = "history.jsonl"
FOLLOW_SECONDS = 1.0
S3_FOLLOW_SECONDS = 2.0
"""Between polls of a bucket, each of which is a paid request."""


class RunLog:
    """The log of a run, stored in its folder over all its starts, for its driver to follow and for later reading."""

    def __init__(self, run_uri: str) -> None:
        self._uri = storage.join(run_uri, LOG_NAME)
        self._text = (storage.read_if_exists(self._uri) or b"").decode()

    def say(self, message: str) -> None:
        """Adds a line, and prints it to this process's stderr."""
        print(message, file=sys.stderr, flush=True)
        self._text += message + "\n"
        with contextlib.suppress(UnavailableError):  # The next write includes it.
            storage.write_bytes(self._uri, self._text.encode())


@contextlib.contextmanager
def following(run_uri: str, say: Say) -> Iterator[None]:
    """Reports the lines that a run adds to its log, wherever in the cluster it runs, until the context ends."""
    uri = storage.join(run_uri, LOG_NAME)

    def lines() -> list[str]:
        return (storage.read_if_exists(uri) or b"").decode().splitlines()

    seconds = S3_FOLLOW_SECONDS if storage.is_s3(run_uri) else FOLLOW_SECONDS
    num_reported = len(lines())
    ended = threading.Event()

    def follow() -> None:
        nonlocal num_reported
        while True:
            is_last = ended.wait(seconds)
            with contextlib.suppress(UnavailableError):  # Retried at the next poll.
                for line in lines()[num_reported:]:
                    say(line)
                    num_reported += 1
            if is_last:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class ProgressLines:
    """Reports every few seconds the progress of a training, its speed, and the time left."""

    def __init__(self, say: Say, *, num_steps: int, counted: str = "chars") -> None:
        self._say = say
        self._num_steps = num_steps
        self._counted = counted
        self._training_seconds = 0.0
        self._first_seconds = 0.0
        self._num_chars = 0.0
        self._steps_done = 0
        self._started = self._last_reported = time.monotonic()
        self._nats = self._chars = 0.0

    @property
    def per_second(self) -> float:
        """Characters (or documents) per second of steps, without validations and checkpoints."""
        return self._num_chars / self._training_seconds if self._training_seconds else 0.0

    def step(self, completed: int, epoch: float, *, nats: float, characters: float, seconds: float) -> None:
        """Adds a completed step, and reports progress if it is due."""
        self._steps_done += 1
        self._first_seconds = self._first_seconds or seconds
        self._training_seconds += seconds
        self._num_chars += characters
        self._nats, self._chars = self._nats + nats, self._chars + characters
        now = time.monotonic()
        # A long training reports less often, so that its log stays short.
        interval = min(MAX_PROGRESS_SECONDS, max(PROGRESS_SECONDS, (now - self._started) / 100))
        if now - self._last_reported < interval and completed != self._num_steps:
            return
        # Only the first step builds the graph, so the estimate leaves it out.
        later_seconds = self._training_seconds - self._first_seconds
        per_step = later_seconds / (self._steps_done - 1) if self._steps_done > 1 else self._first_seconds
        left = (self._num_steps - completed) * per_step
        loss = self._nats / max(self._chars, 1.0)
        self._say(
            f"step {completed:,}/{self._num_steps:,}  epoch {epoch:.2f}  "
            f"loss {loss:.3f} ({loss / math.log(2):.2f} bits)  "
            f"{self.per_second:,.0f} {self._counted}/s  {duration(left)} left"
        )
        self._last_reported = now
        self._nats = self._chars = 0.0


class TensorBoard:
    """Writes scalars and samples for TensorBoard, and copies the files to the run's folder."""

    def __init__(self, run_uri: str) -> None:
        self._uri = storage.join(run_uri, "tensorboard")
        import tensorflow as tf  # Deferred: a driver that follows a log does not need it.

        self._summary = tf.summary
        self._folder = tempfile.TemporaryDirectory()
        self._writer = self._summary.create_file_writer(self._folder.name)

    def write(self, step: int, *, scalars: Mapping[str, float], texts: Mapping[str, str]) -> None:
        """Adds values at a step, and copies the files so far."""
        with self._writer.as_default(step=step):
            for name, value in scalars.items():
                self._summary.scalar(name, value)
            for name, text in texts.items():
                self._summary.text(name, text)
        self._writer.flush()
        for path in Path(self._folder.name).iterdir():
            storage.upload(path, storage.join(self._uri, path.name))

    def close(self) -> None:
        """Closes the writer and deletes the temporary files."""
        self._writer.close()
        self._folder.cleanup()


def read_history(run_uri: str) -> list[dict[str, Any]]:
    """Returns the figures of every validation of a run, in order; an empty list if there are none."""
    uri = storage.join(run_uri, HISTORY_NAME)
    lines = (storage.read_if_exists(uri) or b"").decode().splitlines()
    return [json.loads(line) for line in lines]


class History:
    """The figures of every validation over all starts of a run, a JSON line each: its learning curve."""

    def __init__(self, run_uri: str, *, first_step: int) -> None:
        self._uri = storage.join(run_uri, HISTORY_NAME)
        # Validations after the checkpoint that this start resumes from are measured again.
        self._lines = [json.dumps(figures) for figures in read_history(run_uri) if figures["step"] <= first_step]

    def add(self, figures: Mapping[str, Any]) -> None:
        """Adds a validation."""
        self._lines.append(json.dumps(figures))
        storage.write_bytes(self._uri, ("\n".join(self._lines) + "\n").encode())


class ValidationRecords:
    """The first worker's records of every validation: its line of the history, curves and samples for TensorBoard."""

    def __init__(self, run_uri: str, *, first_step: int) -> None:
        self._history = History(run_uri, first_step=first_step)
        self._tensorboard = TensorBoard(run_uri)

    def add(self, figures: Mapping[str, Any], scalars: Mapping[str, float | None], samples: Mapping[str, str]) -> None:
        """Adds a validation: `figures` to the history, `samples` and all measured `scalars` to TensorBoard."""
        self._history.add(figures)
        measured = {name: value for name, value in scalars.items() if value is not None}
        self._tensorboard.write(figures["step"], scalars=measured, texts=samples)

    def close(self) -> None:
        """Closes the files."""
        self._tensorboard.close()


class StepRecord:
    """The windows and the loss of every step, one file per worker and start: evidence of what was learnt from when."""

    def __init__(self, run_uri: str, *, rank: int, num_workers: int, first_step: int) -> None:
        folder, start = storage.join(run_uri, "steps"), f"from-{first_step:08d}-rank-"
        self._uri = storage.join(folder, f"{start}{rank}.jsonl")
        self._lines: list[str] = []
        if rank == 0:  # Delete the files of an earlier start at this step with more workers.
            for file in storage.list_files(folder):
                name = file.uri.rsplit("/", 1)[-1]
                if name.startswith(start) and int(file.uri.rsplit("-", 1)[-1].removesuffix(".jsonl")) >= num_workers:
                    storage.delete(file.uri)

    def add(self, step: int, *, rows_hash: int, loss: float) -> None:
        """Adds a step; the `rows_hash` values of all workers add up to that of the global batch."""
        self._lines.append(json.dumps({"step": step, "rows_hash": rows_hash, "loss": loss}))

    def save(self) -> None:
        """Writes the steps so far."""
        storage.write_bytes(self._uri, ("\n".join(self._lines) + "\n").encode())


def duration(seconds: float) -> str:
    """Formats seconds: `45s`, `3m20s`, `2h05m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
