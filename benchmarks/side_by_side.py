"""Measures contenders in the order A, B, B, A, so that other load on the machine affects all of them alike.

A contender consists of one or more cooperating processes, each pinned to its cores; all wait while another one works.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT, environment
from textgen.local.background import free_port

SPEED = ROOT / "benchmarks" / "results" / "speed"
SETTLE_SECONDS = 0.3
"""Lets threads that spin after their work go to sleep."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A command to measure."""

    name: str
    command: tuple[str, ...]
    """Module and arguments; each of the `num_processes` processes runs it."""
    python: Path = Path(sys.executable)
    num_processes: int = 1
    num_threads: int = 1
    """Threads per process, each on its own core."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The rates of a contender, per second and round."""

    name: str
    rates: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median rate."""
        return statistics.median(self.rates)

    def words(self, unit: float = 1.0, *, digits: int = 0) -> str:
        """Returns median and range as text, in multiples of `unit`, with `digits` decimal places."""
        middle, low, high = (f"{rate / unit:,.{digits}f}" for rate in (self.median, min(self.rates), max(self.rates)))
        return f"{middle} ({low} to {high})"


def measure(contenders: Sequence[Contender], *, rounds: int, seconds: float) -> dict[str, Measured]:
    """Returns the rates of the contenders over `rounds` rounds of about `seconds` seconds, by name."""
    with contextlib.ExitStack() as stack:
        running = [(contender, stack.enter_context(_started(contender))) for contender in contenders]
        num_steps = {contender.name: _calibrated(processes, seconds=seconds) for contender, processes in running}
        rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        for number in range(rounds):
            for contender, processes in running[:: 1 if number % 2 == 0 else -1]:
                time.sleep(SETTLE_SECONDS)
                amount, taken = _work(processes, num_steps[contender.name])
                rates[contender.name].append(amount / taken)
                print(f"round {number + 1}: {contender.name}: {amount / taken:,.0f}/s", file=sys.stderr, flush=True)
    return {name: Measured(name=name, rates=tuple(values)) for name, values in rates.items()}


def save(
    name: str, table: Sequence[str], details: Mapping[str, Any], *, versions: Mapping[str, str] | None = None
) -> None:
    """Prints command, date, hardware and versions, including those of peers, and a table, and saves them."""
    command, about = " ".join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]), environment()
    about["versions"] |= versions or {}
    words = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    print(f"`{command}`, {about['date']}, {about['commit']}, {about['hardware']}; {words}\n")
    print("\n".join(table))
    SPEED.mkdir(parents=True, exist_ok=True)
    content = {"command": command, **about, "table": list(table), **details}
    (SPEED / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def cores() -> list[int]:
    """Returns the numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


@contextlib.contextmanager
def _started(contender: Contender) -> Iterator[list[subprocess.Popen[str]]]:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(contender.num_processes)]
    processes = []
    try:
        for index in range(contender.num_processes):
            own = cores()[index * contender.num_threads : (index + 1) * contender.num_threads]
            if len(own) < contender.num_threads:
                raise SystemExit(f"error: {contender.name} needs more cores than the {len(cores())} of this machine")
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            threads = {f"{library}_NUM_THREADS": str(contender.num_threads) for library in ("OMP", "OPENBLAS", "MKL")}
            several = {"TF_CONFIG": json.dumps(task)} if contender.num_processes > 1 else {}
            processes.append(
                subprocess.Popen(
                    ["taskset", "-c", ",".join(map(str, own)), str(contender.python), "-m", *contender.command],
                    cwd=ROOT,
                    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **threads, **several, **contender.environment},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _calibrated(processes: Sequence[subprocess.Popen[str]], *, seconds: float) -> int:
    """Returns how many steps take about `seconds` seconds after warm-up."""
    _work(processes, 2)
    num_steps, taken = 1, 0.0
    while taken < seconds / 10:
        num_steps *= 2
        _, taken = _work(processes, num_steps)
    return max(1, round(num_steps * seconds / taken))


def _work(processes: Sequence[subprocess.Popen[str]], num_steps: int) -> tuple[float, float]:
    """Runs `num_steps` steps in all processes of a contender; returns the total amount and the longest time."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{num_steps}\n")
        process.stdin.flush()
    answers = []
    for process in processes:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            _, errors = process.communicate()
            raise SystemExit(f"{errors[-2000:]}\nerror: this contender exited: {process.args!r}")
        answers.append(json.loads(line))
    return sum(answer["amount"] for answer in answers), max(answer["seconds"] for answer in answers)
