"""A disturbed ingest: a reading worker and its driver are killed while S3, if it is used, fails now and then."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.chaos.world import PATIENCE_SECONDS, ROOT, World, log
from tests.faulty_s3 import sometimes
from textgen.ingest.grouping import GROUP_BYTES

NUM_FILES = 5
WORDS = ("the", "dog", "ran", "home", "blue", "and", "never", "saw", "rain", "again")


def is_same(world: World) -> bool:
    """Runs an undisturbed and a disturbed ingest, and returns whether both wrote the same windows."""
    _write_corpus(world)
    expected = _finish(_start(world, "alone"))
    with world.under(sometimes(0.1, "slow_down", "drop", "cut", seed=1)):
        driver = _start(world, "disturbed")
        reading = _await(driver, lambda: _num_staged(world) and world.processes("MapBatches"))
        os.kill(reading[-1].pid, signal.SIGKILL)
        log(f"ingest: one of {len(reading)} reading workers killed")
        _await(driver, lambda: _num_staged(world) >= 2)
        driver.kill()
        driver.communicate()
        log(f"ingest: driver killed with {_num_staged(world)} of {NUM_FILES} files staged")
        result = _finish(_start(world, "disturbed"))
    same = ("manifest_hash", "records", "documents", "duplicates", "characters")
    return {name: result[name] for name in same} == {name: expected[name] for name in same}


def _write_corpus(world: World) -> None:
    """Writes files so large that each is staged by its own task."""
    draw = random.Random(0)
    folder = world.bucket_folder / "corpus"
    folder.mkdir(parents=True)
    for number in range(NUM_FILES):
        with open(folder / f"{number}.txt", "w") as file:
            while file.tell() <= GROUP_BYTES:
                lines = (" ".join(draw.choices(WORDS, k=draw.randrange(20, 60))) for _ in range(500))
                file.write("\n".join(lines) + "\n")


def _start(world: World, name: str) -> subprocess.Popen[str]:
    driver = subprocess.Popen(
        [
            *(sys.executable, "-m", "jobs.ingest", "--preset", "tiny", "--source", f"{world.home}/corpus"),
            *("--output", f"{world.home}/ingests/{name}"),
        ],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": world.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    world.at_end.callback(driver.kill)
    return driver


def _finish(driver: subprocess.Popen[str]) -> dict[str, Any]:
    out, errors = driver.communicate(timeout=PATIENCE_SECONDS)
    assert driver.returncode == 0, errors
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def _num_staged(world: World) -> int:
    """Returns the number of staged source files, read from the bucket's folder."""
    with contextlib.suppress(FileNotFoundError):
        return len(list((world.bucket_folder / "ingests" / "disturbed" / "_staging").glob("*.json")))
    return 0


def _await(driver: subprocess.Popen[str], condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert driver.poll() is None, f"the ingest ended before it was disturbed: {driver.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found
