"""Measures how long a training takes to start and to resume, and how its time is divided while it runs.

python -m benchmarks.starting    # a quarter of an hour on two cores

Runs on a local head that is already up, with windows and checkpoints on its S3 server. Every step is saved, so a step
is detected by its checkpoint. The time to the first batch is that of the reader alone with an empty cache, at 1, 50 and
99 percent of an epoch of the built-in film reviews. The time shares are those of a training that saves once a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.environment import ROOT
from benchmarks.ray_workers import ray_workers
from benchmarks.side_by_side import save
from textgen import presets
from textgen.local.background import free_port
from textgen.local.checkout import Checkout, this_checkout
from textgen.local.head import ray_environment, start_head, stop_head
from textgen.local.s3 import s3_environment, start_s3, stop_s3
from textgen.model.checkpoint import checkpoint_uris, step_of
from textgen.runs.plan import TrainingPlan
from textgen.windows.batches import WindowReader
from textgen.windows.manifest import Manifest
from textgen.windows.shards import IdReader

WINDOWS = "s3://textgen/windows"
PLACES = (0.01, 0.5, 0.99)
NUM_WORKERS = 2
TRAINING = (
    *("train", "--preset", "reviews_best", "--windows", WINDOWS, "--output", "s3://textgen/runs"),
    *("--num-workers", str(NUM_WORKERS), "--set", "model.units=128", "--set", "training.validate_every_steps=100000"),
)
NUM_STEPS = 1500
"""Steps of the training whose time shares are measured: they take more than a minute."""
PARTS = ("compute", "reduce", "data", "checkpoint")
PATIENCE_SECONDS = 300.0


def main(argv: list[str]) -> int:
    """Runs all measurements and prints a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.starting", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(argv)
    with _local_head() as bucket:
        _job("ingest", "--source", "movie-reviews", "--preset", "reviews", "--output", WINDOWS)
        reading: dict[float, list[float]] = {place: [] for place in PLACES}
        starts, resumes, shares = [], [], []
        for number in range(arguments.rounds):
            for place in PLACES:
                reading[place].append(_first_batch(place))
            start, resume = _start_and_resume(bucket, f"run{number}")
            starts.append(start)
            resumes.append(resume)
            shares.append(_time_shares(f"shared{number}"))
            print(f"round {number + 1}: {start:.1f} s to start, {resume:.1f} s to resume", file=sys.stderr, flush=True)
    table = ["| from | to | seconds, median (range) |", "|---|---|---:|"]
    table.append(f"| `jobs.train` with {NUM_WORKERS} workers on a running head | the first step | {_words(starts)} |")
    table.append(f"| SIGKILL of one of {NUM_WORKERS} workers | the next step | {_words(resumes)} |")
    for place, seconds in reading.items():
        table.append(f"| a reader without cache | the batch at {place:.0%} of an epoch | {_words(seconds)} |")
    table += ["", "| of the time of a training | percent, median (range) |", "|---|---:|"]
    table += [f"| {part} | {_words([100 * one[part] for one in shares])} |" for part in PARTS]
    details = {"begin": starts, "go_on": resumes, "read": {str(place): seconds for place, seconds in reading.items()}}
    save("starting", table, {"seconds": details, "time_shares": shares})
    return 0


@contextlib.contextmanager
def _local_head() -> Iterator[Path]:
    """Starts a separate S3 server and head, lets this process use them, and yields the folder of the bucket."""
    base = this_checkout().temp_dir
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="b", dir=base, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        checkout = Checkout(
            run_dir=folder / "run",
            s3_dir=folder / "s3",
            temp_dir=folder,
            s3_port=free_port(),
            ray_port=free_port(),
            dashboard_port=free_port(),
        )
        start_s3(checkout)
        try:
            os.environ.update(s3_environment(checkout))
            start_head(checkout, num_cpus=NUM_WORKERS, extra_environment={"PYTHONPATH": str(ROOT)})
            os.environ.update(ray_environment(checkout))
            yield folder / "s3" / "textgen"
        finally:
            stop_head(checkout)
            stop_s3(checkout)


def _start_and_resume(bucket: Path, name: str) -> tuple[float, float]:
    """Returns the seconds from the command to the first step, and from killing a worker to the next step."""
    run = bucket / "runs" / name
    started = time.monotonic()
    driver = _started(*TRAINING, "--run-name", name, "--set", "training.checkpoint_every_steps=1")
    try:
        _await(driver, lambda: _newest(run) >= 1)
        start = time.monotonic() - started
        victim = ray_workers(bucket.parents[1], "RayTrainWorker")[-1]
        seen = _newest(run)
        victim.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        # A checkpoint that was being written may still appear.
        _await(driver, lambda: _newest(run) > seen + 1)
        return start, time.monotonic() - killed
    finally:
        driver.terminate()
        driver.communicate(timeout=PATIENCE_SECONDS)


def _time_shares(name: str) -> dict[str, float]:
    """Returns the share of each part in the time of a training."""
    words = (*TRAINING, "--run-name", name, "--set", f"training.max_steps={NUM_STEPS}")
    shares: dict[str, float] = json.loads(_job(*words).splitlines()[-1])["time_shares"]
    return shares


def _first_batch(place: float) -> float:
    """Returns the seconds from loading the manifest to the batch at `place`, a share of the epoch."""
    spec = presets.preset("reviews_best")
    with tempfile.TemporaryDirectory() as cache:
        started = time.monotonic()
        manifest = Manifest.load(WINDOWS)
        lanes = TrainingPlan.of(spec, manifest).lanes
        reader = WindowReader(
            IdReader(manifest, "train", cache_dir=Path(cache)),
            lanes,
            context_length=spec.windows.context_length,
            stride=spec.windows.stride,
            first_row=0,
            last_row=spec.training.global_batch_size,
        )
        reader.batch(round(place * lanes.steps_per_epoch))
        return time.monotonic() - started


def _newest(run: Path) -> int:
    """Returns the step of a run's newest checkpoint, or 0."""
    uris = checkpoint_uris(str(run))
    return step_of(uris[-1]) if uris else 0


def _job(*words: str) -> str:
    """Runs a job to its end and returns its output."""
    driver = _started(*words)
    out, errors = driver.communicate()
    if driver.returncode:
        raise SystemExit(errors)
    return out


def _started(name: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"jobs.{name}", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _await(driver: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if driver.poll() is not None or time.monotonic() > deadline:
            driver.kill()
            raise SystemExit(f"the training did not get that far: {driver.communicate()[1][-2000:]}")
        time.sleep(0.05)


def _words(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
