"""The short form of `make chaos`: one fault of each kind that other tests do not cover."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from tests.chaos.__main__ import FAULTS, drawn, kinds_on
from tests.chaos.world import ROOT

KINDS = ("S3 fails now and then", "driver killed", "node killed", "node preempted")


@pytest.mark.chaos
@pytest.mark.ray
@pytest.mark.tensorflow
@pytest.mark.timeout(600)
def test_a_disturbed_training_equals_an_undisturbed_one() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--faults", str(len(KINDS)), "--only", ",".join(KINDS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    outcome = json.loads(finished.stdout.splitlines()[-1])
    assert outcome["faults"] == len(KINDS)
    assert set(outcome["same"].values()) == {True}
    assert all(outcome["seen_by_s3"][fault] for fault in ("slow_down", "drop", "cut"))


def test_faults_are_drawn_in_random_order_and_each_kind_equally_often() -> None:
    kinds = list(FAULTS)
    faults = drawn(kinds, 3 * len(kinds) + 1, seed=4)
    assert sorted(Counter(faults).values()) == [3] * (len(kinds) - 1) + [4]
    assert faults == drawn(kinds, len(faults), seed=4)
    assert faults != drawn(kinds, len(faults), seed=5)


def test_a_local_disk_has_only_the_faults_of_processes_and_machines() -> None:
    assert kinds_on("s3") == list(FAULTS)
    assert kinds_on("local") == [
        "worker killed",
        "driver killed",
        "driver stopped",
        "node killed",
        "node preempted",
    ]
