"""Trainings by Ray Train on two workers, over S3: what one worker learns, and nothing lost when one is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.ray_workers import ray_workers
from tests.step_records import assert_same, recorded
from tests.written_windows import tiny_spec, written_manifest
from textgen import storage
from textgen.errors import UserError
from textgen.local.checkout import Checkout
from textgen.model.checkpoint import checkpoint_uris
from textgen.spec import RunSpec, override
from textgen.training import ownership
from textgen.training.ownership import DRIVERS_NAME
from textgen.training.run import train
from textgen.training.stopping import STOP_NAME, StoppedError
from textgen.windows.manifest import Manifest

pytestmark = [pytest.mark.ray, pytest.mark.tensorflow]

COLOURS = ("red", "blue", "green", "grey")


def say_nothing(line: str) -> None:
    """Takes a line of progress."""


@pytest.fixture(scope="module")
def manifest(s3_server: str) -> Manifest:
    """Windows in the bucket: 90 / 9 / 4 documents."""
    texts = [f"the {COLOURS[i % 4]} dog ran {i % 11} times round the {COLOURS[i % 3]} house" for i in range(90)]
    splits = {"train": texts, "val": texts[:9], "test": texts[:4]}
    return written_manifest(f"{s3_server}/training/windows", splits, documents_per_shard=40)


def spec_with(optimizer: str, **changes: Any) -> RunSpec:
    """A training with everything that could differ between workers switched on."""
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
    """Returns the training workers of a head, and of no other on this machine."""
    return ray_workers(head.temp_dir, "RayTrainWorker")


def wait_until(condition: Callable[[], bool], *, ended: threading.Event, seconds: float = 200.0) -> None:
    """Waits until a condition holds; fails when the training ends before."""
    ticks = 0
    while not condition():
        ticks += 1
        assert ticks < seconds * 10, "the condition never held"
        assert not ended.wait(0.1), "the training ended before"


def resumed(lines: list[str]) -> list[int]:
    """Returns the steps that a run has gone on from."""
    said = "resumed run from step "
    return [int(line.removeprefix(said).replace(",", "")) for line in lines if line.startswith(said)]


def newest(run_uri: str) -> int:
    return int(checkpoint_uris(run_uri)[-1].rsplit("-", 1)[-1])


def test_a_training_told_to_end_one_taken_over_and_a_killed_worker_cost_no_step(
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
    output = f"{s3_server}/training/killed"
    ended = threading.Event()
    lines: list[str] = []

    def run() -> dict[str, Any]:
        try:
            return train(
                spec, manifest_uri=manifest.uri, output=output, run_name="run", num_workers=2, say=lines.append
            )
        finally:
            ended.set()

    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(run)
        wait_until(lambda: len(checkpoint_uris(f"{output}/run")) >= 2, ended=ended)
        driver = json.loads(storage.read_bytes(f"{output}/run/{DRIVERS_NAME}"))["driver"]
        storage.write_bytes(f"{output}/run/{STOP_NAME}", driver.encode())  # As it does that receives SIGTERM.
        with pytest.raises(StoppedError) as stopped:
            training.result()
        ended.clear()
        training = pool.submit(run)
        wait_until(lambda: newest(f"{output}/run") > stopped.value.step, ended=ended)
        ownership.take(f"{output}/run", "another")  # As the workers do that the same command starts elsewhere.
        with pytest.raises(UserError, match=r"another command works on \S+/run since 20"):
            training.result()
        ended.clear()
        left_at = newest(f"{output}/run")
        training = pool.submit(run)
        wait_until(lambda: resumed(lines) == [stopped.value.step, left_at], ended=ended)
        wait_until(lambda: newest(f"{output}/run") > left_at, ended=ended)
        victims = workers_of(ray_head)
        assert len(victims) == 2
        os.kill(victims[-1].pid, signal.SIGKILL)
        result = training.result()
    assert result["step"] == 800
    assert result["num_workers"] == 2
    assert result["checkpoint_uri"].startswith(f"{output}/run/checkpoints/step-")
    assert any("800 steps of 6" in line for line in lines)
    assert len(resumed(lines)) == 3
    assert f"told to stop: saved at step {stopped.value.step:,}" in lines
    undisturbed = train(
        spec, manifest_uri=manifest.uri, output=str(tmp_path), run_name="alone", num_workers=1, say=say_nothing
    )
    assert_same(recorded(str(tmp_path / "alone")), recorded(f"{output}/run"))
    assert result["weights_sha256"] == undisturbed["weights_sha256"]
    assert not workers_of(ray_head)

    again: list[str] = []
    repeated = train(spec, manifest_uri=manifest.uri, output=output, run_name="run", num_workers=2, say=again.append)
    assert repeated | {"seconds": 0} == result | {"seconds": 0}
    assert "is finished" in again[0]
    with pytest.raises(UserError, match=r"model\.units \(6 -> 7\)"):
        train(
            override(spec, {"model.units": 7}),
            manifest_uri=manifest.uri,
            output=output,
            run_name="run",
            num_workers=2,
            say=say_nothing,
        )


def test_a_mistake_that_one_worker_meets_ends_all_of_them(ray_head: Checkout, s3_server: str, tmp_path: Path) -> None:
    texts = [f"the {COLOURS[i % 4]} dog ran {i % 11} times round the {COLOURS[i % 3]} house" for i in range(90)]
    uri = f"{s3_server}/training/damaged"
    damaged = written_manifest(uri, {"train": texts, "val": texts[:9], "test": texts[:4]}, documents_per_shard=30)
    storage.delete(storage.join(uri, damaged.split("train").shards[-1].name))  # The first worker's lanes end before.
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


def test_more_workers_than_there_are_cpus_are_refused(ray_head: Checkout, manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--num-workers 5 needs as many CPUs and the cluster has 2"):
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
