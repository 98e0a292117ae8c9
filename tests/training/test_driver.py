"""Trainings by Ray Train with two workers, over S3: equal to one worker, with no step lost when a worker is killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback, WorkerHealthCheckFailedError

from benchmarks.ray_workers import ray_workers
from tests.step_records import assert_same, recorded
from tests.written_windows import tiny_spec, written_manifest
from textgen import storage
from textgen.errors import UserError
from textgen.local.checkout import Checkout
from textgen.model.checkpoint import checkpoint_uris, step_of
from textgen.runs import lease
from textgen.runs.lease import DRIVERS_NAME
from textgen.runs.position import Run
from textgen.runs.stopping import STOP_NAME, StoppedError
from textgen.spec import RunSpec, override
from textgen.training.driver import Device, shared_out, train
from textgen.training.lost_workers import lost_workers_error
from textgen.windows.manifest import Manifest

pytestmark = [pytest.mark.ray, pytest.mark.tensorflow]

COLOURS = ("red", "blue", "green", "grey")


def say_nothing(line: str) -> None:
    """Discards a line of progress."""


@pytest.fixture(scope="module")
def manifest(s3_server: str) -> Manifest:
    """Windows in the bucket: 90 / 9 / 4 documents."""
    texts = [f"the {COLOURS[i % 4]} dog ran {i % 11} times round the {COLOURS[i % 3]} house" for i in range(90)]
    splits = {"train": texts, "val": texts[:9], "test": texts[:4]}
    return written_manifest(f"{s3_server}/training/windows", splits, documents_per_shard=40)


def spec_with(optimizer: str, **changes: Any) -> RunSpec:
    """A training with every feature that could differ between workers switched on."""
    return tiny_spec(
        **{
            "training__optimizer": optimizer,
            "training__learning_rate": 0.5 if optimizer == "sgd" else 0.02,
            "training__warmup_steps": 5,
            "training__clip_norm": 0.5,
            "training__global_batch_size": 6,
            "training__max_steps": 20,
            "training__validate_every_steps": 1000,
            "training__record_steps": True,
            "training__sample_temperatures": (),
            "model__dropout": 0.3,
            "model__num_layers": 2,
        }
        | changes
    )


def workers_of(head: Checkout) -> list[psutil.Process]:
    """Returns the training workers of a head, without those of other heads on this machine."""
    return ray_workers(head.temp_dir, "RayTrainWorker")


def resumed(lines: list[str]) -> list[int]:
    """Returns the steps that a run has resumed from."""
    prefix = "resumed run from step "
    return [int(line.removeprefix(prefix).replace(",", "")) for line in lines if line.startswith(prefix)]


class DisturbedRun:
    """A run that is trained by one command after another, each of which is disturbed."""

    def __init__(self, spec: RunSpec, manifest: Manifest, output: str) -> None:
        self._spec = spec
        self._manifest = manifest
        self._output = output
        self._ended = threading.Event()
        self.uri = f"{output}/run"
        self.lines: list[str] = []

    def train(self, num_workers: int = 2) -> dict[str, Any]:
        return train(
            self._spec,
            manifest_uri=self._manifest.uri,
            output=self._output,
            run_name="run",
            num_workers=num_workers,
            say=self.lines.append,
        )

    @contextlib.contextmanager
    def training(self, num_workers: int = 2) -> Iterator[Future[dict[str, Any]]]:
        """Trains beside the context, and waits for the end of the training when the context ends."""
        self._ended.clear()
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(self.train, num_workers)
            training.add_done_callback(lambda _: self._ended.set())
            yield training

    def wait_until(self, condition: Callable[[], bool], *, seconds: float = 200.0) -> None:
        """Waits until a condition holds; fails if the training ends before."""
        ticks = 0
        while not condition():
            ticks += 1
            assert ticks < seconds * 10, "the condition never held"
            assert not self._ended.wait(0.1), "the training ended before"

    def newest(self) -> int:
        return step_of(checkpoint_uris(self.uri)[-1])


def stop_training(run: DisturbedRun) -> int:
    """Trains until there are two checkpoints, stops the training, and returns the step that it saved."""
    with run.training() as training:
        run.wait_until(lambda: len(checkpoint_uris(run.uri)) >= 2)
        driver = json.loads(storage.read_bytes(f"{run.uri}/{DRIVERS_NAME}"))["driver"]
        storage.write_bytes(f"{run.uri}/{STOP_NAME}", driver.encode())  # As a driver does when it receives SIGTERM.
        with pytest.raises(StoppedError) as stopped:
            training.result()
    assert stopped.value.step is not None
    return stopped.value.step


def lose_lease(run: DisturbedRun, *, after: int) -> int:
    """Trains with one worker until another driver claims the lease, and returns the step of the last checkpoint."""
    with run.training(num_workers=1) as training:
        run.wait_until(lambda: run.newest() > after)
        lease.claim(run.uri, "another")  # As workers do when the same command runs elsewhere.
        with pytest.raises(UserError, match=r"another command claimed \S+/run at 20"):
            training.result()
    return run.newest()


def finish_without_a_worker(run: DisturbedRun, head: Checkout, *, starts: list[int]) -> dict[str, Any]:
    """Trains to the end, and kills a worker after the first checkpoint since the last of `starts`."""
    with run.training() as training:
        run.wait_until(lambda: resumed(run.lines) == starts)
        run.wait_until(lambda: run.newest() > starts[-1])
        victims = workers_of(head)
        assert len(victims) == 2
        os.kill(victims[-1].pid, signal.SIGKILL)
        return training.result()


def test_a_stop_a_lost_lease_and_a_killed_worker_lose_no_step(
    ray_head: Checkout, manifest: Manifest, s3_server: str, tmp_path: Path
) -> None:
    # 800 steps in epochs of 99, so that the kill falls into the middle of one.
    spec = spec_with(
        "adamw",
        training__reduction="fixed_order",
        training__virtual_workers=3,
        training__max_steps=800,
        training__epochs=20.0,
        training__checkpoint_every_steps=25,
    )
    run = DisturbedRun(spec, manifest, f"{s3_server}/training/killed")
    stopped_at = stop_training(run)
    left_at = lose_lease(run, after=stopped_at)
    result = finish_without_a_worker(run, ray_head, starts=[stopped_at, left_at])
    assert result["step"] == 800
    assert result["num_workers"] == 2
    assert result["checkpoint_uri"].startswith(f"{run.uri}/checkpoints/step-")
    assert any("800 steps of 6" in line for line in run.lines)
    assert len(resumed(run.lines)) == 3
    assert f"stopped: saved step {stopped_at:,}" in run.lines
    undisturbed = train(
        spec, manifest_uri=manifest.uri, output=str(tmp_path), run_name="alone", num_workers=1, say=say_nothing
    )
    assert_same(recorded(str(tmp_path / "alone")), recorded(run.uri))
    assert result["weights_sha256"] == undisturbed["weights_sha256"]
    assert result["val_loss"] == undisturbed["val_loss"]
    assert not workers_of(ray_head)

    again = DisturbedRun(spec, manifest, f"{s3_server}/training/killed")
    assert again.train() | {"seconds": 0} == result | {"seconds": 0}
    assert "is finished" in again.lines[0]
    with pytest.raises(UserError, match=r"model\.units \(6 -> 7\)"):
        DisturbedRun(override(spec, {"model.units": 7}), manifest, f"{s3_server}/training/killed").train()


def test_a_user_error_in_one_worker_ends_all_of_them(ray_head: Checkout, s3_server: str, tmp_path: Path) -> None:
    texts = [f"the {COLOURS[i % 4]} dog ran {i % 11} times round the {COLOURS[i % 3]} house" for i in range(90)]
    uri = f"{s3_server}/training/damaged"
    damaged = written_manifest(uri, {"train": texts, "val": texts[:9], "test": texts[:4]}, documents_per_shard=30)
    storage.delete(storage.join(uri, damaged.split("train").shards[-1].name))  # The first worker reads none of it.
    with pytest.raises(UserError, match=r"train\S+ does not exist"):
        train(
            spec_with("sgd"),
            manifest_uri=uri,
            output=str(tmp_path),
            run_name="run",
            num_workers=2,
            say=say_nothing,
        )
    assert not workers_of(ray_head)


def test_workers_that_are_lost_too_often_end_with_a_user_error(tmp_path: Path) -> None:
    run = Run(spec=tiny_spec(), manifest_uri="x", run_uri=str(tmp_path), run_name="run")
    died = WorkerHealthCheckFailedError("A worker's health check failed.", RuntimeError("SIGKILL"))
    others = UserExceptionWithTraceback(ConnectionError("no answer"), "Traceback ...")
    error = lost_workers_error(WorkerGroupError("two failed", {0: others, 1: died}), run)
    assert str(error) == (
        f"workers of {tmp_path} were lost more often than training.max_failures allows (3); the last error was: "
        "A worker's health check failed. The run has no checkpoint yet, and the same command resumes it; "
        "if memory was short, use fewer workers or a smaller training.global_batch_size"
    )
    assert lost_workers_error(WorkerGroupError("one failed", {0: others}), run) is None  # A bug: shows a traceback.
    mistake = UserExceptionWithTraceback(UserError("wrong"), "Traceback ...")
    assert lost_workers_error(WorkerGroupError("two failed", {0: mistake, 1: died}), run) is None


@pytest.mark.parametrize(
    ("num_gpus", "num_workers", "device", "expected"),
    [
        (0, None, "auto", (1, False)),
        (3, None, "auto", (3, True)),
        (1, 2, "auto", (2, False)),  # It does not wait for a second GPU.
        (2, 2, "auto", (2, True)),
        (1, 2, "gpu", (2, True)),
        (2, 2, "cpu", (2, False)),
    ],
)
def test_workers_use_gpus_if_there_is_one_per_worker(
    num_gpus: int,
    num_workers: int | None,
    device: Device,
    expected: tuple[int, bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resources = {"CPU": 4.0, "GPU": float(num_gpus)}
    monkeypatch.setattr("ray.cluster_resources", lambda: resources)
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": resources}])
    found, reserved, use_gpu = shared_out(num_workers, device)
    assert (found, use_gpu) == expected
    assert reserved.get("GPU", 0) == int(use_gpu)


def test_more_workers_than_cpus_are_refused(ray_head: Checkout, manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--num-workers 5 needs a CPU per worker, but the cluster has 2"):
        train(
            spec_with("sgd"),
            manifest_uri=manifest.uri,
            output=str(tmp_path),
            run_name="x",
            num_workers=5,
            say=say_nothing,
        )
    with pytest.raises(UserError, match=r"--num-workers is 0; use 1 or more"):
        train(
            spec_with("sgd"),
            manifest_uri=manifest.uri,
            output=str(tmp_path),
            run_name="x",
            num_workers=0,
            say=say_nothing,
        )
