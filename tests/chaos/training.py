"""A disturbed training: starts it, watches its progress, and injects faults."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

from tests.chaos.world import PATIENCE_SECONDS, ROOT, World
from tests.faulty_s3 import sometimes
from tests.step_records import recorded
from tests.written_windows import written_manifest
from textgen.model.checkpoint import checkpoint_uris, step_of

SETTINGS = (
    "windows.context_length=7",
    "windows.stride=7",
    "model.units=24",
    "model.embedding_dim=5",
    "model.dropout=0.3",
    "training.reduction=fixed_order",
    "training.virtual_workers=4",
    "training.global_batch_size=10",
    "training.learning_rate=0.02",
    "training.epochs=100000",
    "training.validate_every_steps=1000000",
    "training.max_failures=1000",
    "training.record_steps=true",
)
CHECKPOINT_STEPS = 25
NUM_WORKERS = (1, 2, 4)
STOPPED = 143
COLOURS = ("red", "blue", "green", "grey")


class DisturbedTraining:
    """One run, whose driver is a separate process."""

    def __init__(
        self, world: World, name: str, *, num_steps: int, seed: int, checkpoint_steps: int = CHECKPOINT_STEPS
    ) -> None:
        self._world = world
        self._name = name
        self._draw = random.Random(seed)
        every = f"training.checkpoint_every_steps={checkpoint_steps}"
        self._settings = (*SETTINGS, f"training.max_steps={num_steps}", every)
        self._log = world.folder / f"{name}.log"
        self._place = world.bucket_folder / "runs" / name
        if not (world.bucket_folder / "windows").exists():
            texts = [f"the {COLOURS[i % 4]} dog ran {i % 11} times round the {COLOURS[i % 3]} house" for i in range(90)]
            splits = {"train": texts, "val": texts[:9], "test": texts[:4]}
            written_manifest(str(world.bucket_folder / "windows"), splits, documents_per_shard=40)

    def start(self, *, num_workers: int) -> None:
        """Runs the command that starts or resumes the run."""
        self._num_workers = num_workers
        flags = [word for setting in self._settings for word in ("--set", setting)]
        with open(self._log, "a") as log:
            self._driver = subprocess.Popen(
                [
                    *(sys.executable, "-m", "jobs.train", "--preset", "tiny"),
                    *("--windows", f"{self._world.home}/windows", "--output", f"{self._world.home}/runs"),
                    *("--run-name", self._name, "--num-workers", str(num_workers)),
                    *flags,
                ],
                cwd=ROOT,
                env={**os.environ, "RAY_ADDRESS": self._world.address},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._world.at_end.callback(self._driver.kill)
        self._seen = self._newest()

    def finish(self) -> dict[str, Any]:
        """Waits for the end for as long as there is progress, and returns the job's result."""
        out = None
        while out is None:
            try:
                out, _ = self._driver.communicate(timeout=PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                newest = self._newest()
                assert newest > self._seen, f"no new checkpoint: {self._last_lines()}"
                self._seen = newest
        assert self._driver.returncode == 0, self._last_lines()
        result: dict[str, Any] = json.loads(out.splitlines()[-1])
        return result

    def await_progress(self) -> None:
        """Waits until the run has written a newer checkpoint than any that was seen."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (newest := self._newest()) <= self._seen:
            assert self._driver.poll() is None, f"the driver ended: {self._last_lines()}"
            assert time.monotonic() < deadline, f"no new checkpoint: {self._last_lines()}"
            time.sleep(0.05)
        self._seen = newest

    def recorded(self) -> dict[int, tuple[int, float]]:
        """Returns the hash of the windows of every step, and its loss."""
        # Through S3, because the server's disk may also hold remains of unfinished uploads.
        return recorded(f"{self._world.home}/runs/{self._name}")

    def kill_worker(self) -> None:
        """Kills one of the training workers."""
        os.kill(self._draw.choice(self._world.processes("RayTrainWorker")).pid, signal.SIGKILL)
        self._ignore_pending_checkpoint()

    def kill_driver(self) -> None:
        """Kills the driver, and runs its command again with another number of workers."""
        self._driver.kill()
        self._driver.wait()
        self._start_again()

    def stop_driver(self) -> None:
        """Stops the driver by SIGTERM, and runs its command again with another number of workers."""
        self._driver.terminate()
        assert self._driver.wait(timeout=PATIENCE_SECONDS) == STOPPED, self._last_lines()
        self._start_again()

    def kill_node(self) -> None:
        """Kills a node, and adds another one."""
        self._world.replace_node(self._draw.randrange(2))
        self._ignore_pending_checkpoint()

    def drain_node(self) -> None:
        """Announces the preemption of a node, and removes it when the training has resumed."""
        node = self._world.drain_node(self._draw.randrange(2))
        self._seen = self._newest() + 2 * CHECKPOINT_STEPS  # The training saves at once, and must then resume.
        self.await_progress()
        self._world.remove_node(node)
        self._ignore_pending_checkpoint()

    def restart_s3(self) -> None:
        """Restarts the S3 server."""
        self._world.restart_s3()

    def worsen_s3(self) -> None:
        """Makes about a third of all requests fail in some way."""
        self._world.set_rule(sometimes(0.3, "slow_down", "drop", "cut", seed=self._draw.randrange(2**32)))

    def stall_s3(self) -> None:
        """Makes the next write stall."""
        waiting = Counter({"PUT": 1})

        def rule(method: str, path: str) -> Any:
            waiting.subtract([method])
            return "stall" if waiting["PUT"] == 0 and method == "PUT" else None

        self._world.set_rule(rule)

    def _start_again(self) -> None:
        self._driver.communicate()
        self.start(num_workers=self._draw.choice([number for number in NUM_WORKERS if number != self._num_workers]))

    def _ignore_pending_checkpoint(self) -> None:
        """Does not count a checkpoint that was being written, and may still appear, as progress."""
        self._seen = self._newest() + CHECKPOINT_STEPS

    def _newest(self) -> int:
        uris = checkpoint_uris(str(self._place))
        return step_of(uris[-1]) if uris else 0

    def _last_lines(self) -> str:
        return "\n".join(self._log.read_text().splitlines()[-40:])
