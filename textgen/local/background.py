"""A background process that outlives the command that starts it: can be found again, and stopped with its descendants.

Descendants inherit a random mark in their environment, so `stop` finds exactly these, even in other sessions or after
their parent has died, and no other processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from textgen.errors import UserError
from textgen.local.checkout import write_private

MARK = "TEXTGEN_BACKGROUND_MARK"
LOG_TAIL_LINES = 15
POLL_SECONDS = 0.1

_started: list[subprocess.Popen[bytes]] = []
"""Children of this process; kept, because a `Popen` that is deleted while its process runs warns."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A running process, stored in a file with mode 0600 while it runs."""

    pid: int
    created: float
    """Start time in seconds since 1970; distinguishes the process from a later one with the same pid."""
    mark: str
    facts: dict[str, str]
    """Values for the caller that finds the process again, such as addresses and settings."""


@dataclass(frozen=True, kw_only=True)
class Background:
    """A named background process of a checkout."""

    name: str
    run_dir: Path

    @property
    def log_path(self) -> Path:
        """The output of the process."""
        return self.run_dir / f"{self.name}.log"

    @property
    def _record_path(self) -> Path:
        return self.run_dir / f"{self.name}.json"

    def find(self) -> Record | None:
        """Returns the record of the process, or None if it is not running."""
        try:
            record = Record(**json.loads(self._record_path.read_text()))
            process = psutil.Process(record.pid)
            # The clock may be adjusted between two readings of the same start time.
            same = abs(process.create_time() - record.created) < 2.0
            return record if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (FileNotFoundError, ValueError, TypeError, psutil.NoSuchProcess):
            return None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Prevents other commands of the checkout from starting or stopping the process at the same time."""
        self.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self.run_dir / f"{self.name}.lock", "w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        facts: dict[str, str],
        answers: Callable[[], bool],
        timeout_seconds: float,
    ) -> Record:
        """Starts the process in its own session and waits until it answers.

        Raises:
            UserError: it ended or did not answer in time; the message includes the last lines of its log.
        """
        mark = secrets.token_hex(16)
        with open(os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as log:
            process = subprocess.Popen(
                command,
                env={**environment, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _started.append(process)
        record = Record(pid=process.pid, created=psutil.Process(process.pid).create_time(), mark=mark, facts=facts)
        write_private(self._record_path, json.dumps(asdict(record)))
        deadline = time.monotonic() + timeout_seconds
        while (ended := process.poll() is not None) or not answers():
            if ended or time.monotonic() > deadline:
                problem = "ended" if ended else f"did not answer within {timeout_seconds:.0f} s"
                self.stop()
                raise UserError(f"the {self.name} process {problem}; the end of {self.log_path}:\n{self._log_tail()}")
            time.sleep(POLL_SECONDS)
        return record

    def stop(self) -> bool:
        """Stops the process and its descendants, waits for their end, and returns whether any was running."""
        try:
            record = Record(**json.loads(self._record_path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return False
        main = [process for process in _marked(record.mark) if process.pid == record.pid]
        _end(main, wait_seconds=10)  # Lets it end its children in order.
        others = _marked(record.mark)
        _end(others, wait_seconds=5)
        for child in _started:
            child.poll()
        self._record_path.unlink(missing_ok=True)
        return bool(main or others)

    def _log_tail(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:]) or "  (empty)"


def check_port(port: int, *, purpose: str, variable: str) -> None:
    """Checks that nothing listens on a port of 127.0.0.1.

    Raises:
        UserError: the port is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise UserError(
                f"port {port} for {purpose} is used by another program; "
                f"stop that program, or choose another port: export {variable}={_neighbour(port)}"
            ) from None


def free_port() -> int:
    """Returns a free port of 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _neighbour(port: int) -> int:
    return port + 1 if port < 65535 else port - 1


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # Skips other users' processes, and those that have just ended.
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def _end(processes: Sequence[psutil.Process], *, wait_seconds: float) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=wait_seconds)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=wait_seconds)
